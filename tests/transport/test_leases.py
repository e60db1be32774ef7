"""Leases through a real server: no stale or torn read, whatever is kept; they outlive the env, a crash and a fork."""

import gc
import os
import random
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from support.forked import forked
from support.opened import TARGET, opened
from support.paths import ENVS
from support.same import same
from support.serving import running
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv, errors
from gym_service.transport.arena import MOST_OF_A_SIZE

STAYING = ("unix path", "tcp")  # the transports of a persistent server
TRANSPORTS = ("unix", "stdio", *STAYING)
# Python 3.6 has no hook for forks, so there the data is copied out of its slot.
ENDS = ("py312-gymnasium14", "py36-gym021")


@contextmanager
def stamped(transport: str = "unix", target: str = TARGET, **given: Any) -> Iterator[RemoteEnv]:
    given |= {"entry_point": "stamped:StampedEnv"}
    if transport not in STAYING:
        with opened("Stamped", target=target, transport=transport, **given) as env:
            yield env
        return
    options = "--allow-import", "--pythonpath", ENVS
    with (
        tempfile.TemporaryDirectory(prefix="unix-") as folder,
        mock.patch.dict(os.environ, XDG_CONFIG_HOME=folder),  # the folder of the token
        running(
            TARGETS[target].python(), *options, unix=Path(folder) / "socket" if "path" in transport else None
        ) as serving,
        gym_service.make("Stamped", address=serving.address, **given) as env,
    ):
        yield env


def assert_stamped(observation: dict[str, np.ndarray], stamp: int) -> None:
    """Assert that each byte comes from this call."""
    for camera in ("top", "wrist"):
        assert (observation[camera] == stamp % 251).all(), (stamp, np.unique(observation[camera]))
    assert (observation["state"] == stamp).all()


def is_leased(value: np.ndarray) -> bool:
    lease = value.base.obj if isinstance(value.base, memoryview) else value.base
    return type(lease).__name__ == "Lease"


def action(env: RemoteEnv, number: int) -> np.ndarray:
    shape = env.action_space.shape
    assert shape is not None
    return np.full(shape, number % 251, np.uint8)


def assert_exact(env: RemoteEnv, steps: int, chance: random.Random) -> None:
    """Make steps while the user keeps, views, overwrites and drops observations at random."""
    observation, _ = env.reset()
    stamp = int(observation["state"][0])
    kept: list[tuple[np.ndarray, int]] = []
    for number in range(steps):
        stamp += 1
        observation, reward, _, _, info = env.step(action(env, number))
        assert_stamped(observation, stamp)
        assert reward == stamp
        assert info["action"] == (number % 251,) * 2
        what = chance.randrange(8)
        if what < 2:
            kept.append((observation[chance.choice(["top", "wrist"])][:: chance.choice([1, -3])], stamp % 251))
        elif what == 2:
            observation["top"][:] = 7
            kept.append((observation["top"], 7))
        elif what == 3:
            stamp += 1
            assert (env.render() == stamp % 251).all()
        while len(kept) > 20 or (kept and what == 4):
            del kept[chance.randrange(len(kept))]
            what = 0
        if number % 50 == 0:
            assert all((view == value).all() for view, value in kept)
    assert all((view == value).all() for view, value in kept)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("target", ENDS)
def test_no_read_is_stale_or_torn(target: str, transport: str) -> None:
    with stamped(target=target, transport=transport, kwargs={"render_mode": "rgb_array"}) as env:
        assert_exact(env, 400, random.Random(1))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_large_leaves_are_leased_and_small_ones_copied(transport: str) -> None:
    with stamped(transport) as env:
        env.reset()  # announces the first slots to the other side
        observation, _ = env.reset()
        assert is_leased(observation["top"])
        assert is_leased(observation["wrist"])
        assert not is_leased(observation["state"])
        for leaf in observation.values():
            assert leaf.flags.writeable
            assert leaf.flags.c_contiguous


def test_holding_a_state_pins_no_frame() -> None:
    with stamped() as env:
        states = [env.reset()[0]["state"]]
        for number in range(4 * MOST_OF_A_SIZE):
            observation = env.step(action(env, number))[0]
            states.append(observation["state"])
            assert is_leased(observation["top"]) or number < 4


def test_who_keeps_every_frame_has_every_frame() -> None:
    with stamped() as env:
        kept = [env.reset()[0]]
        kept += [env.step(action(env, number))[0] for number in range(4 * MOST_OF_A_SIZE)]
        assert is_leased(kept[1]["top"])
        assert not is_leased(kept[-1]["top"])
        for stamp, observation in enumerate(kept, 1):
            assert_stamped(observation, stamp)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_frames_outlive_close(transport: str) -> None:
    with stamped(transport=transport) as env:
        kept = [env.reset()[0]] + [env.step(action(env, number))[0] for number in range(5)]
    del env
    gc.collect()
    for stamp, observation in enumerate(kept, 1):
        assert_stamped(observation, stamp)
        observation["top"][0] = 0


def test_frames_outlive_a_crash_and_a_restart() -> None:
    with stamped(restart="on-reset") as env:
        kept = [env.reset()[0]] + [env.step(action(env, number))[0] for number in range(5)]
        os.kill(env.target["pid"], signal.SIGKILL)
        with pytest.raises(errors.ServerCrashed):
            env.step(action(env, 1))
        assert_exact(env, 50, random.Random(2))
    for stamp, observation in enumerate(kept, 1):
        assert_stamped(observation, stamp)


@pytest.mark.parametrize("target", ENDS)
def test_a_simulator_may_keep_what_it_was_sent(target: str) -> None:
    with stamped(target=target) as env:
        env.reset()
        for number in range(2 * MOST_OF_A_SIZE):
            assert env.call("keep", action(env, number)) == number + 1
            env.step(action(env, 99))
        kept = [(number,) * 2 for number in range(2 * MOST_OF_A_SIZE)]
        assert same(env.call("what_was_kept"), kept)


@pytest.mark.parametrize("step", ["compose", "receive", "lease", "_verify", "announce"])
def test_closing_from_another_thread_while_memory_is_lent_is_a_closed_error(step: str) -> None:
    """Whatever the call goes on to use is gone."""
    with stamped() as env:
        env.reset()
        arena = env._connection.arena
        assert arena
        done, is_after = getattr(arena, step), step in ("_verify", "announce")

        def close() -> None:
            thread = threading.Thread(target=env.close)
            thread.start()
            thread.join()

        def close_meanwhile(*given: Any) -> Any:
            if not is_after:
                close()
            found = done(*given)
            if is_after:
                close()
            return found

        def some_steps() -> None:
            for number in range(4):
                env.step(action(env, number))

        with mock.patch.object(arena, step, close_meanwhile), pytest.raises(errors.ClosedError):
            some_steps()


def test_what_a_forked_child_holds_does_not_change() -> None:
    with stamped() as env:
        env.reset()
        held = [env.step(action(env, 0))[0]["top"]]
        assert is_leased(held[0])
        seen = forked(held)
        held.clear()
        for number in range(1, 20):
            assert_stamped(env.step(action(env, number))[0], number + 2)
        assert seen() == [(2, 2)]


def test_an_observation_pickles_and_copies_as_any_array() -> None:
    import copy
    import pickle

    with stamped() as env:
        observation = env.reset()[0]
        for again in (pickle.loads(pickle.dumps(observation)), copy.deepcopy(observation)):
            assert same(again, observation)
            assert not np.shares_memory(again["top"], observation["top"])
