"""A simulator that is itself a vector env: a VectorEnv with the same results as in its own interpreter."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from support import serving
from support.paths import ENVS
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service.errors import ApiMismatch, ClosedError, ConfigError, EnvError, ServerCrashed

NEW, OLD = "py312-gymnasium14", "py36-gym021"
MODES = list(AutoresetMode)


@contextmanager
def made(entry_point: str, target: str = NEW, **given: Any) -> Iterator[Any]:
    """The result of ``gym_service.make`` for a class of tests/fixture_envs/vectorized.py, or another entry point."""
    name = entry_point if ":" in entry_point else f"vectorized:{entry_point}"
    folders = [str(ENVS), str(ENVS / "stand_ins")]
    env = gym_service.make("x", python=str(TARGETS[target].python()), pythonpath=folders, entry_point=name, **given)
    try:
        yield env
    finally:
        env.close()


# -- gymnasium's own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("vectorization", "mode"), [*(("sync", mode) for mode in MODES), ("async", MODES[0])])
def test_make_vec_of_gymnasium(vectorization: str, mode: AutoresetMode) -> None:
    kwargs = {"num_envs": 3, "vectorization_mode": vectorization, "vector_kwargs": {"autoreset_mode": mode.value}}
    ours_kwargs = {"id": "CartPole-v1", "max_episode_steps": 12, **kwargs}
    kwargs["vectorization_mode"] = "sync"  # this mode has the same values, and no further processes
    theirs = gymnasium.make_vec("CartPole-v1", max_episode_steps=12, **kwargs)  # type: ignore[arg-type]
    with made("gymnasium:make_vec", kwargs=ours_kwargs) as ours:
        assert isinstance(ours, VectorEnv)
        assert (ours.num_envs, ours.metadata) == (3, theirs.metadata)
        assert ours.target["autoreset_mode"] == mode.value
        for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert same(ours.reset(seed=[3, None, 5])[0][::2], theirs.reset(seed=[3, None, 5])[0][::2])
        assert same(ours.reset(seed=7, options={"low": -0.01}), theirs.reset(seed=7, options={"low": -0.01}))
        for number in range(30):
            actions = np.array([1, number % 2, 0])
            results = ours.step(actions), theirs.step(actions)
            assert same(*results)
            over = results[0][2] | results[0][3]
            if mode is AutoresetMode.DISABLED and over.any():
                options = {"reset_mask": over}
                assert ours.reset(options=options)[0].shape == theirs.reset(options=dict(options))[0].shape
                break
        assert ours.get_attr("gravity") == theirs.get_attr("gravity") == (9.8, 9.8, 9.8)
        ours.set_attr("gravity", [1.0, 2.0, 3.0])
        assert ours.call("get_wrapper_attr", "gravity") == (1.0, 2.0, 3.0)
    theirs.close()


@pytest.mark.parametrize("target", [OLD, "py38-gym026", "py310-gymnasium029"])
def test_the_older_ones(target: str) -> None:
    library = "gymnasium" if "gymnasium" in target else "gym"
    kwargs = {"id": "CartPole-v1", "num_envs": 2, "asynchronous": False}
    with made(f"{library}.vector:make", target, kwargs=kwargs) as env:
        assert env.target["autoreset_mode"] == "unknown"
        assert "autoreset_mode" not in env.metadata
        first = env.reset(seed=3)[0]
        assert same(env.reset(seed=[3, 4])[0], first)
        observations, rewards, terminated, truncated, _ = env.step((0, 1))
        assert same(rewards, np.ones(2))
        assert same(terminated, np.zeros(2, bool))
        assert same(truncated, np.zeros(2, bool))
        assert observations.shape == (2, 4)


def test_a_step_in_two_halves_a_copy_and_a_call_there() -> None:
    with made("gymnasium:make_vec", kwargs={"id": "CartPole-v1", "num_envs": 2}) as env:
        env.reset(seed=3)
        env.step_async(np.array([0, 1]))
        assert env.step_wait()[0].shape == (2, 4)
        assert env.call("builtins:repr") == "CartPoleVectorEnv(CartPole-v1, num_envs=2)"
        assert "of 2 in Python 3.12" in repr(env)
        with pytest.raises(AttributeError):
            env.there_is_no_such_attribute
        other = copy.copy(env)
        try:
            with pytest.raises(ResetNeeded):
                other.step(np.array([0, 1]))
            assert same(other.reset(seed=3), env.reset(seed=3))
        finally:
            other.close()


# -- other forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [OLD, NEW])
def test_unbatched_spaces_and_env_ids(target: str) -> None:
    with made("Pool", target, kwargs={"num_envs": 4}) as env:
        assert env.num_envs == 4
        assert env.observation_space == env.single_observation_space
        assert env.observation_space.shape == (2,)
        ids = np.arange(4, dtype=np.int32)
        zeros = np.zeros((4, 2), np.float32)
        assert same(env.reset(), (zeros, {"env_id": ids, "nested": {"elapsed": np.zeros(4, np.int32)}}))
        no, info = np.zeros(4, bool), {"env_id": ids}
        ones = np.array([[1, 1], [0, 0], [1, 1], [2, 2]], np.float32)
        assert same(env.step(np.array([1, 0, 1, 2])), (ones, ones[:, 0].copy(), no, no, info))
        few = np.array([3, 1], np.int32)
        assert same(env.step(np.array([2, 1]), few)[0], np.array([[4, 4], [1, 1]], np.float32))
        assert same(env.reset(few)[0], np.zeros((2, 2), np.float32))
        assert same(env.step(np.array([2, 1]), env_id=few)[1], np.array([2, 1], np.float32))
        assert same(env.all_env_ids, np.arange(4))
        with pytest.raises(ApiMismatch, match="cannot be seeded"):
            env.reset(seed=1)
        assert not hasattr(env, "call_me")
        with pytest.raises(AttributeError):
            env.get_attr("counts")  # neither the env nor the simulator has it


@pytest.mark.parametrize("target", [OLD, NEW])
def test_four_values_with_a_list_of_infos(target: str) -> None:
    with made("Baselines", target) as env:
        assert same(env.reset(), (np.zeros((3, 2), np.float32), {}))
        _, _, terminated, truncated, infos = env.step(np.array([0, 1, 1]))
        assert same([terminated, truncated], [np.zeros(3, bool)] * 2)
        _, rewards, terminated, truncated, infos = env.step(np.array([1, 1, 2]))
        assert same(rewards, np.array([1, 2, 3], np.float32))
        assert same(truncated, np.array([False, True, False]))
        assert same(terminated, np.array([False, False, True]))
        assert infos[1] == {"TimeLimit.truncated": True, "count": 2.0}


@pytest.mark.parametrize("quiet", [False, True])
def test_four_values_of_tensors(quiet: bool) -> None:
    with made("Isaac", OLD, kwargs={"quiet": quiet}) as env:
        assert same(env.reset(), ({"obs": np.zeros((3, 2), np.float32)}, {}))
        assert env.target["arrays"] == "torch cpu"
        env.step(np.array([0, 1, 1], np.float32))
        observation, rewards, terminated, truncated, infos = env.step(np.array([1, 1, 2], np.float32))
        assert same(rewards, np.array([1, 2, 3], np.float32))
        assert same(observation, {"obs": np.array([[1, 1], [2, 2], [3, 3]], np.float32)})
        said = np.array([False, True, False])
        if quiet:
            assert same(terminated, np.array([0, 1, 1], np.uint8))
            assert same(truncated, np.zeros(3, bool))
            assert same(infos, {"time_outs": said})
        else:
            assert same([terminated, truncated], [np.array([False, False, True]), said])


def test_a_batched_env_stays_an_env() -> None:
    with made("BatchedEnv") as env:
        assert isinstance(env, gymnasium.Env)
        assert env.reset()[0].shape == (2, 2)
        assert same(env.step(np.zeros(2, np.int64))[1:3], (np.array([1.0, 2.0]), np.array([True, False])))


def test_a_batch_may_be_larger_than_a_message() -> None:
    with made("Large", timeouts={"reset": 60.0}) as env:
        observations, info = env.reset(seed=[1] * 20)
        assert observations.shape == (20, 4, 2**20)
        assert same(observations[:, :, -1], np.arange(80, dtype=np.uint8).reshape(20, 4))
        assert info == {"seed": [1] * 20}


# -- by the name of an entry -----------------------------------------------------------------------------------------


@pytest.fixture
def entries(tmp_path: Path) -> Iterator[None]:
    lines = [
        f'[envs."{name}"]\npython = "{TARGETS[NEW].python()}"\npythonpath = ["{ENVS}"]\n'
        f'entry_point = "vectorized:{cls}"\n{more}\n'
        for name, cls, more in (
            ("Named-v0", "Named", 'vectorized = true\nnum_envs_key = "count"'),
            ("Pool-v0", "Pool", "vectorized = true"),
            ("Plain-v0", "Pool", ""),
            ("NoVector-v0", "BatchedEnv", "vectorized = true"),
        )
    ]
    lines += [f'[envs."CartPole-v1"]\npython = "{TARGETS[NEW].python()}"\nvectorized = true\n']
    (tmp_path / "envs.toml").write_text("\n".join(lines))
    gym_service.use(tmp_path / "envs.toml")
    yield
    gym_service.use()


def test_gym_make_vec_passes_the_number_on(entries: None) -> None:
    for env_id, num_envs in (("Named-v0", 4), ("Pool-v0", 5), ("CartPole-v1", 6)):
        env = gymnasium.make_vec(f"gym_service/{env_id}", num_envs=num_envs)
        try:
            assert type(env.unwrapped) is gym_service.RemoteVectorizedEnv
            assert env.num_envs == num_envs
            assert env.reset()[0].shape[0] == num_envs
            assert env.spec is not None
        finally:
            env.close()


def test_a_mode_that_is_a_text_becomes_an_autoreset_mode(entries: None) -> None:
    env = gymnasium.make_vec("gym_service/Named-v0", num_envs=4)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.close()


@pytest.mark.parametrize("mode", ["next_step", 1, {"a": 1}])
def test_a_mode_that_gymnasium_lacks_is_unknown(mode: Any) -> None:
    with made("Named", kwargs={"count": 4, "mode": mode}) as env:
        assert same(env.metadata["autoreset_mode"], mode)
        assert env.target["autoreset_mode"] == "unknown"
        assert env.reset()[0].shape[0] == 4


@pytest.mark.parametrize("display", ["", ":99"])
@pytest.mark.parametrize("kwargs", [{"modes": ["rgb_array"]}, {"modes": [], "refused": "rgb_array"}])
def test_a_human_render_mode_is_passed_on(display: str, kwargs: dict[str, Any]) -> None:
    environ = {"DISPLAY": display, "WAYLAND_DISPLAY": ""}
    with made("Shown", render_mode="human", kwargs=kwargs, environ=environ) as env:
        assert type(env) is gym_service.RemoteVectorizedEnv
        assert env.render_mode == "human"
        assert env.reset()[0].shape[0] == env.num_envs


def test_a_server_that_died_is_started_again_at_the_next_reset() -> None:
    with made("Dying", restart="on-reset", kwargs={"num_envs": 2}) as env:
        first = env.reset()
        pid = env.target["pid"]
        assert env.step(np.array([1, 2]))[1].tolist() == [1, 2]
        for error in (ServerCrashed, ClosedError):
            with pytest.raises(error):
                env.step(np.array([2, 1]))
        assert same(env.reset(), first)
        assert env.target["pid"] != pid
        assert env.step(np.array([1, 0]))[1].tolist() == [1, 0]
        with pytest.raises(ServerCrashed):
            env.step(np.array([2, 1]))
        env.close()
        with pytest.raises(ClosedError):
            env.reset()


def test_a_server_that_died_stays_dead_without_restart() -> None:
    with made("Dying") as env:
        env.reset()
        with pytest.raises(ServerCrashed):
            env.step(np.array([2, 1, 1]))
        with pytest.raises(ClosedError):
            env.reset()


@pytest.mark.parametrize("env_id", ["Pool-v0", "Plain-v0"])
def test_gym_make_names_both_ways(entries: None, env_id: str) -> None:
    with pytest.raises(ConfigError, match=r"gym\.make_vec\(.*gym_service\.make\("):
        gymnasium.make(f"gym_service/{env_id}")


def test_what_cannot_be_asked_of_it(entries: None) -> None:
    with pytest.raises(ConfigError, match="autoreset_mode: 'Disabled' cannot be asked"):
        gymnasium.make_vec("gym_service/Pool-v0", num_envs=2, autoreset_mode="Disabled")
    with pytest.raises(ConfigError, match="workers"):
        gymnasium.make_vec("gym_service/Pool-v0", num_envs=2, workers=2)
    with pytest.raises(EnvError, match=r"is a vector env itself.*\n  try: vectorized = true"):
        gymnasium.make_vec("gym_service/Plain-v0", num_envs=2)
    with pytest.raises(EnvError, match="BatchedEnv is no vector env"):
        gymnasium.make_vec("gym_service/NoVector-v0", num_envs=2)
    with pytest.raises(EnvError, match="max_episode_steps"):
        gymnasium.make_vec("gym_service/Pool-v0", num_envs=2, max_episode_steps=3)


# -- with what else an entry has -------------------------------------------------------------------------------------


def test_placeholders_know_the_number_and_no_single_env() -> None:
    where = {"python": str(TARGETS[NEW].python()), "pythonpath": [str(ENVS)], "entry_point": "vectorized:Pool"}
    with made("Pool", vectorized=True, kwargs={"num_envs": 3, "label": "one of {num_envs}"}) as env:
        assert env.label == "one of 3"
    for given, said in (
        ({"kwargs": {"num_envs": 3, "label": "{index+5000}"}}, r"kwargs: \{index\} has no value"),
        ({"kwargs": {"num_envs": 3}, "environ": {"PORT": "{index}"}}, r"environ: \{index\} has no value"),
        ({"kwargs": {"label": "{num_envs}"}}, r"kwargs: \{num_envs\} has no value here, since num_envs is not given"),
    ):
        with pytest.raises(ConfigError, match=said):
            gym_service.make("x", vectorized=True, **where, **given)


def test_values_for_a_single_env_are_refused_where_the_simulator_is_a_vector_env() -> None:
    with made("Pool", kwargs={"num_envs": 3, "label": "gpu {worker} {{num_envs}}"}) as env:
        assert env.label == "gpu 0 {num_envs}"
    for given, key, advice in (
        ({"kwargs": {"num_envs": 3, "label": ["1 of {num_envs}"]}}, r"kwargs: \{num_envs\}", "vectorized = true"),
        ({"kwargs": {"num_envs": 3, "label": "{index}"}}, r"kwargs: \{index\}", r"leave \{index\} out"),
        ({"environ": {"COUNT": "{num_envs}"}}, r"environ: \{num_envs\}", "vectorized = true"),
    ):
        said = rf"{key} was filled in as for a single env, but the simulator is a vector env\n  try: {advice}"
        with pytest.raises(ConfigError, match=said), made("Pool", **given):
            pass


def test_names_of_the_simulator_and_calls_that_only_some_have() -> None:
    kwargs = {"id": "CartPole-v1", "num_envs": 2}
    with made("gymnasium:make_vec", kwargs={**kwargs, "vectorization_mode": "async"}) as env:
        assert {"call_async", "reset_wait", "step_wait", "num_envs"} <= set(dir(env))
        env.reset(seed=3)
        env.call_async("get_wrapper_attr", "gravity")
        assert env.call_wait() == (9.8, 9.8)
        env.reset_async(seed=3)
        assert same(env.reset_wait()[0], env.reset(seed=3)[0])
    with made("gymnasium:make_vec", kwargs={**kwargs, "vectorization_mode": "sync"}) as env:
        assert "call_async" not in dir(env)
        with pytest.raises(AttributeError, match="call_async"):  # as in-process
            env.call_async("get_wrapper_attr", "gravity")
        with pytest.raises(AttributeError, match=r"gravity\.real"):  # the simulator's call takes names without dots
            env.call("gravity.real")


def test_on_a_server_of_somebody_else_names_with_an_underscore_need_permission(tmp_path: Path) -> None:
    with serving.running(TARGETS[NEW].python(), unix=tmp_path / "socket") as server:
        where: Any = {"address": server.address, "vectorized": True}
        env = gym_service.make("CartPole-v1", kwargs={"num_envs": 2, "vectorization_mode": "sync"}, **where)
        try:
            env.reset(seed=3)
            assert env.call("get_wrapper_attr", "gravity") == env.get_attr("gravity") == (9.8, 9.8)
            for refused in (
                lambda: env.call("__class__"),
                lambda: env.call("get_wrapper_attr", "_np_random"),
                lambda: env.get_attr(name="_np_random"),
                lambda: env.set_attr("_elapsed_steps", 3),
                lambda: env.get_attr("spec.kwargs"),
                lambda: env.call("builtins:repr"),
            ):
                with pytest.raises(EnvError, match="this server is not the client's own"):
                    refused()
        finally:
            env.close()
        with pytest.raises(EnvError, match="entry_point: this server is not the client's own"):
            gym_service.make("x", entry_point="gymnasium:make_vec", kwargs={"id": "CartPole-v1"}, **where)
