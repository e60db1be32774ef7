"""Spaces, metadata and render mode equal the simulator's, also after they change or are assigned."""

import itertools
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import numpy as np
import pytest
from gymnasium import spaces
from support import polling
from support.opened import TARGET, opened

from gym_service import RemoteEnv, errors
from gym_service.client.compiled_step import never
from gym_service.server.env_facts import _encoded

TARGETS = ("py38-gym026", "py310-gymnasium029", TARGET)


def changing(target: str = TARGET, **kwargs: object):
    return opened("changing", target=target, entry_point="changing:ChangingEnv", kwargs=kwargs)


def assert_spaces(env: RemoteEnv, size: int) -> None:
    assert env.observation_space == spaces.Box(-1, 1, (size,), np.float32)
    assert env.action_space == spaces.Discrete(size)
    observation, *_, info = env.step(size - 1)
    assert observation.tolist() == [size - 1] * size
    assert env.observation_space.shape == observation.shape
    assert info == {"n": size}


@pytest.mark.parametrize("target", TARGETS)
def test_a_reset_after_configure_brings_the_new_spaces(target: str) -> None:
    with changing(target) as env:
        env.reset()
        assert_spaces(env, 2)
        env.unwrapped.configure(5)
        assert env.action_space.n == 2
        assert env.reset()[0].shape == (5,)
        assert_spaces(env, 5)
        for size in (2000, 3, 2000, 3):  # a layout with a large buffer, and one without
            env.unwrapped.configure(size, at_once=True)
            assert_spaces(env, size)


def test_an_equal_space_stays_the_object_that_wrappers_hold() -> None:
    with changing() as env:
        held = env.action_space
        env.reset()
        env.unwrapped.configure(2, at_once=True)
        assert env.action_space is held


def test_a_space_that_is_none_until_the_first_reset() -> None:
    with changing(late=True) as env:
        assert env.observation_space is None
        assert env.action_space is None
        env.reset()
        assert_spaces(env, 2)


def test_a_space_changed_in_place_is_seen_on_reset() -> None:
    with changing() as env:
        env.reset()
        env.unwrapped.change_in_place(-0.5)
        env.reset()
        assert env.observation_space.low.tolist() == [-0.5, -0.5]


def test_what_a_call_that_raised_has_changed_arrives_with_the_next_one() -> None:
    with changing() as env:
        env.reset()
        with pytest.raises(errors.EnvValueError, match="but it has changed"):
            env.unwrapped.change_and_raise(4)
        env.step(1)
        env.reset()
        assert_spaces(env, 4)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_assigned_reaches_the_simulator(target: str) -> None:
    with changing(target) as env:
        env.reset()
        env.unwrapped.render_mode = "ansi"
        assert env.render() == "ansi"
        env.unwrapped.metadata["render_fps"] = 9
        assert env.unwrapped.call("builtins:getattr", "metadata")["render_fps"] == 9
        env.unwrapped.metadata = {"render_modes": [], "render_fps": 11}
        assert env.unwrapped.call("builtins:getattr", "metadata")["render_fps"] == 11
        space = spaces.Discrete(7)
        env.unwrapped.action_space = space
        assert env.action_space is space
        assert env.step(6)[4] == {"n": 7}
        env.unwrapped.set_wrapper_attr("action_space", spaces.Discrete(3))
        assert env.step(2)[4] == {"n": 3}
        assert env.action_space == spaces.Discrete(3)


def test_a_render_mode_that_an_old_env_is_told_with_each_render() -> None:
    with opened("old", target="py36-gym021", entry_point="older:OlderEnv") as env:
        env.reset()
        env.unwrapped.render_mode = "ansi"
        assert env.render() == "as ansi"
        assert env.render_mode == "ansi"


@pytest.mark.parametrize("is_compiled", [False, True])
def test_what_another_version_of_a_layout_has_packed_is_refused(is_compiled: bool) -> None:
    for side, text in (
        ("_layout", "version 1 of a layout, and this is version 7"),
        ("_action_layout", "version 7 of a"),
    ):
        with changing(has_infos=False) as env:  # results with infos are packed by forms
            env.reset()
            env.unwrapped.configure(3, at_once=True)
            assert env.step(2)[0].tolist() == [2.0] * 3
            layout = getattr(env.unwrapped, side)
            assert layout.version == 1
            layout.version, layout.stamp = 7, b"\x07\0"
            env.unwrapped._compiled_step, env.unwrapped._compiled_for = never, ()
            if is_compiled:
                env.unwrapped._compile_step()
                assert env.unwrapped._compiled_step is not never
            with pytest.raises(errors.GymServiceError, match=text) as caught:
                env.step(0)
            assert "raised in the simulator" not in str(caught.value)
            with pytest.raises(errors.GymServiceError):
                env.step(0)


def test_a_step_that_waited_for_another_threads_change_goes_by_the_new_spaces() -> None:
    with changing() as env, ThreadPoolExecutor(1) as pool:
        env.reset()
        changed = pool.submit(env.unwrapped.configure_slowly, 5, 0.5)
        polling.until(lambda: env._connection.during == "call", "the call of the other thread")
        observation, *_ = env.step(1)
        assert observation.tolist() == [1.0] * 5
        changed.result()
        changed = pool.submit(env.unwrapped.configure_slowly, 3, 0.5)
        polling.until(lambda: env._connection.during == "call", "the call of the other thread")
        env.step_async(1)
        assert env.step_wait()[0].tolist() == [1.0] * 3


def test_a_change_by_another_thread_while_a_step_is_compiled() -> None:
    """The new spaces arrive while the step is compiled for the old ones. An interrupt ends it before it is made."""
    with changing() as env, ThreadPoolExecutor(1) as pool:
        env.reset()
        for size, at in enumerate(("compile_step", "compile_call", "_exchange"), start=3):
            compiling, is_changed = threading.Event(), threading.Event()

            def trace(frame: FrameType, event: str, arg: object) -> None:
                if frame.f_code.co_name == at and not compiling.is_set():  # noqa: B023
                    compiling.set()  # noqa: B023
                    is_changed.wait(10)  # noqa: B023
                elif frame.f_code.co_name == "_step_call":
                    raise TimeoutError("the user's own")

            def stepped() -> list[float]:
                sys.settrace(trace)
                with pytest.raises(TimeoutError, match="the user's own"):
                    env.step(1)
                sys.settrace(None)
                return env.step(1)[0].tolist()

            env.unwrapped._compiled_step, env.unwrapped._compiled_for = never, ()
            found = pool.submit(stepped)
            assert compiling.wait(10)
            env.unwrapped.configure(size, at_once=True)
            is_changed.set()
            assert found.result(10) == [1.0] * size, at


def test_a_step_after_an_interrupted_change_goes_by_the_new_spaces() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise TimeoutError("the user's own")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with changing() as env:
            env.reset()
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(TimeoutError, match="the user's own"):
                env.unwrapped.configure_slowly(5, 1.0)
            assert env.step(1)[0].tolist() == [1.0] * 5
            assert_spaces(env, 5)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_space_that_this_gymnasium_makes_none_of_closes_the_env_and_says_so() -> None:
    with changing() as env:
        env.reset()
        with pytest.raises(errors.ProtocolError, match="not a space"):
            env.unwrapped.make_impossible()
        with pytest.raises(errors.ClosedError):
            env.step(0)


def test_metadata_of_another_type_are_other_metadata() -> None:
    endless: list[object] = []
    endless.append(endless)
    values = [1, True, 1.0, "1", b"1", None, (1,), [1], {"a": 1}, {"a": True}, 0.0, -0.0, np.float64(1), endless]
    values += [np.array([1]), np.array([1], np.uint64), {"a": np.array([1])}, {"a": np.array([1], np.uint64)}]
    for one, other in itertools.combinations(values, 2):
        assert _encoded(one) != _encoded(other), (one, other)
    assert _encoded({"render_modes": ["a", "b"], "fps": 30}) == _encoded({"render_modes": ["a", "b"], "fps": 30})
