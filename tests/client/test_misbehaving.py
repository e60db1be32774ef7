"""Simulators that print, raise, and return invalid values: each call gets its answer, and the env goes on working."""

import builtins
import pickle
import traceback
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from fixture_envs import odd_values
from support.opened import misbehaving

from gym_service import Opaque, RemoteEnv, errors
from gym_service.testing.in_target import trajectory

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

TRANSPORTS = ("unix", "stdio")
METHODS = ("reset", "step", "render")
STEPS = 4
TEXT_BYTES = 65536

# The exception in the simulator; its class here; another base class of it; the beginning of its message.
RAISED: list[tuple[str, type[Exception], type[Exception], str]] = [
    ("ValueError", errors.EnvValueError, ValueError, "no such thing\n"),
    ("TypeError", errors.EnvTypeError, TypeError, "of another type\n"),
    ("KeyError", errors.EnvKeyError, KeyError, "'absent'\n"),
    ("StopIteration", errors.EnvStopIteration, StopIteration, "enough\n"),
    ("ImportError", errors.EnvImportError, ImportError, "late import\n"),
    ("MemoryError", errors.EnvMemoryError, MemoryError, "\n"),
    ("UnicodeDecodeError", errors.EnvUnicodeDecodeError, UnicodeDecodeError, "'utf-8' codec can't decode byte 0xff"),
    ("recursion", errors.EnvRecursionError, RecursionError, "maximum recursion depth exceeded"),
    ("two arguments", errors.EnvError, errors.GymServiceError, "(5, 'two')\n"),
    ("a local class", errors.EnvRuntimeError, RuntimeError, "of a local class\n"),
    ("a bad text", errors.EnvValueError, ValueError, "<no message: its __str__ raised ZeroDivisionError>\n"),
    ("10 MB", errors.EnvRuntimeError, RuntimeError, "begin mmmm"),
    ("surrogates", errors.EnvValueError, ValueError, "half \udc80\n"),
    ("chained", errors.EnvFileNotFoundError, FileNotFoundError, "[Errno 2] No such file: 'mesh.obj'\n"),
    ("a warning", errors.EnvDeprecationWarning, DeprecationWarning, "this is how it ends\n"),
    ("a group", errors.EnvError, errors.GymServiceError, "several (2 sub-exceptions)\n"),
    ("ResetNeeded", errors.EnvResetNeeded, gymnasium.error.ResetNeeded, "reset() first\n"),
    ("InvalidAction", errors.EnvInvalidAction, gymnasium.error.InvalidAction, "no such action\n"),
]
TYPE_NAMES = {
    "two arguments": "misbehaving.TwoArguments",
    "a local class": "misbehaving.raise_local.<locals>.Local",
    "a bad text": "misbehaving.BadText",
    "a group": "ExceptionGroup",
    "ResetNeeded": "gymnasium.error.ResetNeeded",
    "KeyError": "KeyError",
}


def use(env: RemoteEnv, method: str) -> Any:
    """Make one call of a method of Gymnasium's API."""
    return {"reset": lambda: env.reset(seed=3), "step": lambda: env.step(1), "render": env.render}[method]()


def works_on(env: RemoteEnv) -> list[str]:
    """Everything that the env returns from here on, for some steps."""
    results = [env.reset(seed=11), *(env.step(number % 3) for number in range(STEPS)), env.render()]
    return [line for number, result in enumerate(results) for line in trajectory.lines(result, str(number))]


@pytest.fixture(scope="module")
def undisturbed() -> list[str]:
    with misbehaving() as env:
        return works_on(env)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_a_simulator_prints_and_reads_disturbs_nothing(transport: str, undisturbed: list[str]) -> None:
    for deed in ("print in Python", "print in C", "print in a child", "read input", "close stdout"):
        at_import, at_making = {"MISBEHAVE": deed}, {"on": "init", "what": deed}
        with misbehaving(transport=transport, environ=at_import, kwargs=at_making) as env:
            for method in METHODS if deed != "close stdout" else ():
                env.call("misbehave", method, deed)
                use(env, method)
            assert works_on(env) == undisturbed, deed
            env.call("misbehave", "close", deed if deed != "close stdout" else "print in C")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_it_printed_is_in_the_error_when_it_dies(transport: str) -> None:
    with misbehaving(transport=transport) as env:
        env.reset()
        for deed in ("print in C", "print in a child"):
            env.call("misbehave", "step", deed)
            env.step(0)
        env.call("misbehave", "step", "os._exit")
        with pytest.raises(errors.ServerCrashed) as caught:
            env.step(0)
    for words in ("out of C's puts", "out of C's printf 7", "straight to fd 1", "out of a child", "out of a shell"):
        assert words in caught.value.tail
    assert caught.value.tail.endswith("last words\n")


@pytest.mark.parametrize(("deed", "cls", "also", "begins"), RAISED, ids=[case[0] for case in RAISED])
def test_what_a_simulator_raises(
    deed: str, cls: type[Exception], also: type[Exception], begins: str, undisturbed: list[str]
) -> None:
    with misbehaving() as env:
        env.reset(seed=3)
        for method in METHODS:
            env.call("misbehave", method, deed)
            with pytest.raises(errors.EnvError) as caught:
                use(env, method)
            assert_told(caught.value, cls, also, begins)
            assert caught.value.type_name == TYPE_NAMES.get(deed, caught.value.type_name)
            assert "misbehaving.py" in caught.value.remote_traceback or deed == "recursion"
        assert works_on(env) == undisturbed


def assert_told(error: errors.EnvError, cls: type[Exception], also: type[Exception], begins: str) -> None:
    """The right class, the message first, bounded evidence; it survives everything that libraries do to errors."""
    assert type(error) is cls
    assert isinstance(error, also)
    assert str(error).startswith(begins)
    assert not str(error).endswith("\n")
    assert error.message.startswith(begins.rstrip("\n"))
    assert len(error.message) < TEXT_BYTES + 100
    assert len(error.remote_traceback.encode("utf-8", "surrogatepass")) <= TEXT_BYTES + 100
    assert str(type(error)(str(error))) == str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is cls
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)
    assert "".join(traceback.format_exception(error)).count("\n") > 1


def test_every_exception_of_python_has_a_class_here() -> None:
    for name, cls in vars(builtins).items():
        if isinstance(cls, type) and issubclass(cls, Exception) and name == cls.__name__ and name != "Exception":
            ours = errors.env_error_class([name, "Exception"])
            if name == "ExceptionGroup":  # it cannot be made from only a text
                assert ours is errors.EnvError
                continue
            error = ours("a text", type_name=name)
            assert isinstance(error, cls)
            assert (str(error), error.type_name) == ("a text", name)
            assert str(pickle.loads(pickle.dumps(error))) == "a text"


@pytest.mark.parametrize("deed", ["ValueError", "two arguments", "a local class", "KeyError"])
def test_an_exception_while_it_is_made(deed: str) -> None:
    _, cls, also, begins = next(case for case in RAISED if case[0] == deed)
    with pytest.raises(errors.EnvError) as caught, misbehaving(kwargs={"on": "init", "what": deed}):
        pass
    assert_told(caught.value, cls, also, begins)


def test_an_exception_in_close_is_a_warning_and_no_more() -> None:
    with misbehaving() as env:
        env.call("misbehave", "close", "ValueError")
        with pytest.warns(UserWarning, match="no such thing") as caught:
            env.close()
        env.close()
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("action", [3, -1, 1.5, None, "left", [0, 1], np.float32(1), np.zeros(2), {"a": 1}])
def test_a_bad_action_is_what_the_simulator_says_of_it(action: Any) -> None:
    with misbehaving() as env:
        before = env.reset(seed=5), env.step(2)
        env.reset(seed=5)
        with pytest.raises(errors.EnvAssertionError, match="is no action"):
            env.step(action)
        assert trajectory.text((before[0], before[1])) == trajectory.text((env.reset(seed=5), env.step(2)))


@pytest.mark.parametrize("what", odd_values.OBSERVATIONS)
def test_an_observation_outside_its_space_arrives_as_it_is(what: str) -> None:
    expected = trajectory.text(odd_values.OBSERVATIONS[what]())
    with misbehaving() as env:
        env.reset()
        env.call("result", "observation", what)
        assert trajectory.text(env.step(0)[0]) == expected


def test_a_reward_arrives_as_it_is() -> None:
    with misbehaving() as env:
        env.reset()
        for what, make in odd_values.REWARDS.items():
            env.call("result", "reward", what)
            assert trajectory.text(env.step(0)[1]) == trajectory.text(make()), what


def test_what_cannot_cross_in_an_info_is_opaque_and_warned_of_once() -> None:
    with misbehaving() as env:
        env.reset()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            infos = []
            for _ in range(3):
                env.call("result", "info", "a lock in the info")
                infos.append(env.step(0)[4])
    for info in infos:
        lock = info["nested"]["lock"][0]
        assert type(lock) is Opaque
        assert lock.type_name == "_thread.lock"
        assert lock.repr.startswith("<unlocked _thread.lock object at 0x")
        assert info["fine"] == 1
    texts = [str(warning.message) for warning in caught]
    assert texts == ["$.info['nested']['lock'][0] is a _thread.lock, which cannot cross: it arrives as an Opaque"]
    assert [warning.filename for warning in caught] == [__file__]


def test_what_cannot_cross_in_a_result_is_refused_with_its_path(undisturbed: list[str]) -> None:
    def step_with(what: str, field: str = "observation") -> Any:
        env.call("result", field, what)
        return env.step(0)

    with misbehaving() as env:
        env.reset()
        cases = {
            "$.observation['x']": lambda: step_with("a lock in the observation"),
            "$.observation": lambda: step_with("a lock"),
            "$.reward": lambda: step_with("a lock", "reward"),
            "$.result['deep'][1]": lambda: env.call("unsendable"),
            "$.info['big'][0]": lambda: step_with("a large info", "info"),
            "$.info['3']": lambda: step_with("an info of many", "info"),
        }
        for path, call in cases.items():
            with pytest.raises(errors.CannotCross) as caught:
                call()
            assert caught.value.path == path
            assert str(caught.value).startswith(f"{path} ")
            assert type(pickle.loads(pickle.dumps(caught.value))) is errors.CannotCross
            assert works_on(env) == undisturbed


def test_what_cannot_cross_in_a_call_is_refused_before_anything_is_sent(undisturbed: list[str]) -> None:
    with misbehaving() as env:
        state = env.reset(seed=5), env.step(2)
        env.reset(seed=5)
        calls = {
            "$.action['x'][1]": lambda: env.step({"x": [0, object()]}),
            "$.args[0]": lambda: env.call("echo", object()),
            "$.args[0]['big']": lambda: env.call("echo", {"big": np.zeros(70 * 2**20, np.uint8)}),
            "$.kwargs['value']": lambda: env.call("echo", value=object()),
            "$.options['x']": lambda: env.reset(options={"x": object()}),
            "$.secret": lambda: setattr(env, "secret", object()),
        }
        for path, call in calls.items():
            with pytest.raises(errors.CannotCross) as caught:
                call()
            assert caught.value.path == path
        assert trajectory.text(state[1]) == trajectory.text(env.step(2))
        assert works_on(env) == undisturbed


def test_many_large_frames_arrive_in_parts() -> None:
    with misbehaving() as env:
        env.reset()
        env.call("result", "frames", "300 frames")
        frames = env.render()
    assert type(frames) is list
    assert sum(frame.nbytes for frame in frames) > 200e6
    expected = odd_values.frames(300, (480, 640, 3))
    assert len(frames) == len(expected)
    for ours, theirs in zip(frames, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("what", "path"),
    [("a giant among frames", "$.result[1:2][0]"), ("a lock among frames", "$.result[36:41][4]")],
)
def test_a_list_of_frames_that_cannot_cross_is_refused(what: str, path: str, undisturbed: list[str]) -> None:
    with misbehaving() as env:
        env.reset()
        env.call("result", "frames", what)
        with pytest.raises(errors.CannotCross) as caught:
            env.render()
        assert caught.value.path == path
        env.call("result", "frames", "no frames")
        assert env.render() == []
        assert works_on(env) == undisturbed


@pytest.mark.parametrize("method", ["init", *METHODS, "close"])
def test_warnings_of_the_simulator_reach_the_user(method: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with misbehaving(kwargs={"on": "init", "what": "warn"} if method == "init" else {}) as env:
            if method != "init":
                env.reset()
                env.call("misbehave", method, "warn")
                env.close() if method == "close" else use(env, method)
    told = [(warning.category, str(warning.message)) for warning in caught]
    assert told[:3] == [
        (UserWarning, "a user's warning"),
        (RuntimeWarning, "a runtime warning"),
        (RuntimeWarning, "a warning of its own"),
    ]
    assert "said by the logger of Gymnasium" in told[3][1]


@pytest.mark.parametrize("method", METHODS)
def test_a_warning_points_at_the_code_that_made_the_call(method: str) -> None:
    with misbehaving() as env:
        env.reset()
        env.call("misbehave", method, "warn")
        with pytest.warns(RuntimeWarning) as caught:
            use(env, method)
    assert {warning.filename for warning in caught} == {__file__}


def test_a_warning_as_an_error_does_not_cost_the_env(undisturbed: list[str]) -> None:
    with misbehaving() as env:
        env.reset()
        env.call("misbehave", "step", "warn")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="a user's warning"):
                env.step(0)
        assert works_on(env) == undisturbed


@pytest.mark.parametrize("target", ["py313-gymnasium14", "py312-gymnasium14"])
def test_a_name_that_is_no_text_costs_no_server(target: str) -> None:
    """Python 3.13 itself fails to print such an error: it searches for similar names."""
    with misbehaving(target=target) as env:
        env.reset()
        with pytest.raises(AttributeError, match="AttributeError"):
            env.get_wrapper_attr("metadat\ud800")
        env.step(env.action_space.sample())
