"""Large spaces and large messages: the form of their bounds on the wire, and the limit of a message. Python 3.10."""

import resource
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from support.opened import opened
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service.client.spaces import refuse_larger, space_from
from gym_service.errors import CannotCross, ConfigError
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.space_spec import describe
from gym_service.protocol.values import BadValue

MIB = 2**20
BOXES = {
    "an image": Box(0, 255, (480, 640, 3), np.uint8),
    "unbounded": Box(-np.inf, np.inf, (50, 50), np.float64),
    "half bounded": Box(0.0, np.inf, (50, 50), np.float32),
    "one odd bound": Box(np.array([0.0] * 99 + [1.0]), np.full(100, 2.0), dtype=np.float64),
    "minus zero": Box(np.full(8, -0.0), np.ones(8), dtype=np.float64),
    "two zeros": Box(np.array([0.0, -0.0]), np.ones(2), dtype=np.float64),
    "one number": Box(-1.0, 1.0, (1,), np.float32),
    "no dimension": Box(-1.0, 1.0, (), np.float32),
    "nothing": Box(-1.0, 1.0, (0, 3), np.float32),
    "integers without a limit": Box(-np.inf, np.inf, (9,), np.int64),
}


@pytest.mark.parametrize("name", BOXES)
def test_the_bounds_arrive_as_they_are(name: str) -> None:
    box = BOXES[name]
    crossed = space_from(describe(box, "$"))
    assert crossed == box
    for one in ("low", "high", "bounded_below", "bounded_above"):
        theirs, ours = getattr(box, one), getattr(crossed, one)
        assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes()), one
        assert not isinstance(ours, np.ndarray) or ours.flags.writeable
    assert box.seed(3) == crossed.seed(3)
    assert np.array_equal(box.sample(), crossed.sample())


def test_the_same_bound_everywhere_travels_as_one_number() -> None:
    assert Encoder().add(describe(BOXES["an image"], "$")).size_bytes < 500
    assert Encoder().add(describe(BOXES["one odd bound"], "$")).size_bytes > 800  # its low, which is not uniform


def test_a_claim_of_more_than_a_message_holds_is_refused_before_memory_is_taken() -> None:
    data = describe(Box(0, 255, (2, 2), np.uint8), "$")
    with pytest.raises(BadValue, match="a space of 1000000000000 bytes"):
        refuse_larger({"kind": "Tuple", "spaces": [{**data, "shape": (10**6, 10**6)}]}, 64 * MIB)
    with pytest.raises(ValueError, match="another shape"):
        space_from({**data, "low": np.zeros(3, np.uint8)})


def large(size_mib: int, **given: Any) -> Any:
    return opened("large", entry_point="large:LargeEnv", kwargs={"size_mib": size_mib}, **given)


@pytest.mark.parametrize(
    ("transport", "size_mib"),
    [
        pytest.param("unix", 70, marks=pytest.mark.slow),
        *(pytest.param(each, 200, marks=pytest.mark.long) for each in ("unix", "stdio")),
    ],
)
def test_a_space_above_the_usual_bound_is_made_and_stepped(transport: str, size_mib: int) -> None:
    with large(size_mib, max_message_mib=256, transport=transport) as env:
        assert env.observation_space == Box(0, 255, (size_mib, MIB), np.uint8)
        observation, _ = env.reset()
        assert (observation.shape, observation.dtype) == ((size_mib, MIB), np.uint8)
        assert (observation[:, 0] == np.arange(size_mib)).all()
        stepped = env.step(0)[0]
        assert (stepped[:, -1] == np.arange(size_mib) + 1).all()
        server_mib = env.unwrapped.call("memory_mib")
    ours_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"at most: server {server_mib} MiB, client {ours_mib} MiB")  # pytest -s shows it


def test_without_the_key_the_error_names_it() -> None:
    with pytest.raises(CannotCross, match=r"\$\.observation_space .*\n  try: max_message_mib = 100"):
        large(100).__enter__()


def test_an_answer_that_is_too_large_names_the_key_and_the_env_goes_on() -> None:
    with large(1, max_message_mib=2) as env:
        with pytest.raises(CannotCross, match=r"\$\.result is .*\n  try: max_message_mib = 5"):
            env.unwrapped.call("give", 4 * MIB)
        with pytest.raises(CannotCross, match="try: max_message_mib = 6"):
            env.unwrapped.call("take", np.zeros(6 * MIB - 100, np.uint8))
        assert env.unwrapped.call("give", MIB).nbytes == MIB


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_in_a_vector_env_it_names_the_workers_too() -> None:
    envs = gym_service.make_vec(
        "large",
        2,
        python=TARGETS["py312-gymnasium14"].python(),
        pythonpath=[ENVS],
        entry_point="large:LargeEnv",
        kwargs={"size_mib": 1},
        max_message_mib=2,
    )
    with pytest.raises(CannotCross, match=r"try: max_message_mib = \d+, or more workers"):
        envs.call("give", 4 * MIB)
    envs.close()


def many_leaves(observed: int, acted: int) -> dict[str, Any]:
    found = {"entry_point": "large:ManyLeavesEnv", "kwargs": {"observed": observed, "acted": acted}}
    return {**found, "python": TARGETS["py312-gymnasium14"].python(), "pythonpath": [ENVS]}


# One message of small arrays alone may be larger than the buffer for small messages, 65,536 bytes.
SIDES = [(16, 1), (17, 1), (1, 17), (17, 17)]


@pytest.mark.parametrize(("observed", "acted"), SIDES)
def test_many_small_arrays_that_are_large_together(observed: int, acted: int) -> None:
    with opened("leaves", **many_leaves(observed, acted)) as env:
        env.reset()
        for number in (1, 2):
            action = {key: np.full(1000, number, np.float32) for key in env.action_space}
            observation, *rest = env.step(action)
            assert {key: set(value.tolist()) for key, value in observation.items()} == {
                key: {number * acted} for key in env.observation_space
            }
            assert rest == [0.5, False, False, {}]


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
@pytest.mark.parametrize(("observed", "acted"), SIDES)
def test_many_small_arrays_of_one_env_in_a_vector_env(observed: int, acted: int) -> None:
    envs = gym_service.make_vec("leaves", 1, **many_leaves(observed, acted))
    envs.reset()
    for number in (1, 2):
        action = {key: np.full((1, 1000), number, np.float32) for key in envs.single_action_space}
        observations, rewards, *_ = envs.step(action)
        assert all((value == number * acted).all() for value in observations.values())
        assert len(observations) == observed
        assert rewards.tolist() == [0.5]
    envs.close()


def test_what_is_no_size_is_refused() -> None:
    for size in (0, 1.5, "64"):
        with pytest.raises(ConfigError, match="max_message_mib"):
            gym_service.make("CartPole-v1", python="3.10", max_message_mib=size)  # type: ignore[arg-type]
