"""Arrays and actions cross as arrays of numpy, or of the framework that the entry names.

The frameworks here are stand-ins; ``tests/simulators/test_frameworks.py`` uses the real ones. Python 3.10.
"""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from fixture_envs.stand_ins import torch as stand_in
from support.opened import opened
from support.paths import ENVS
from support.same import same
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv
from gym_service.errors import CannotCross, ConfigError, EnvError

STAND_INS = str(ENVS / "stand_ins")
FOLDERS = [str(ENVS), STAND_INS]
ROW = np.arange(4, dtype=np.float32)
PIXELS = (np.arange(13200) % 251).astype(np.uint8).reshape(40, 110, 3)
ARRIVES: dict[str, Any] = {
    "tensor": ROW,
    "large tensor": PIXELS,
    "tensor on a device": ROW,
    "tensor of a subclass": ROW,
    "tensor with a gradient": ROW,
    "tensor without dimensions": np.array(2.5, np.float32),
    "empty tensor": np.empty((0, 3), np.int16),
    "only an array": PIXELS,
    "only an array, of another order": PIXELS,
    "only an array, of objects": np.array([1, "a"], object),
    "on a device": ROW,
    "dlpack": PIXELS,
    "dlpack without dimensions": np.array(3),
}
REFUSED = {"sparse": "a sparse one has none", "itself": "it holds itself", "key": "cannot be a key"}
OLD, NEW = "py36-gym021", "py312-gymnasium14"


def arrays_env(target: str = NEW, entry_point: str = "array_likes:ArraysEnv", **given: Any) -> Any:
    return opened("arrays", target=target, entry_point=entry_point, pythonpath=FOLDERS, **given)


@pytest.fixture(scope="module", params=[OLD, NEW])
def env(request: pytest.FixtureRequest) -> Iterator[RemoteEnv]:
    with arrays_env(request.param) as env:
        yield env


@pytest.mark.filterwarnings("ignore:.*nothing but __array__")
@pytest.mark.parametrize("name", ARRIVES)
def test_it_arrives_as_an_array_wherever_it_stands(env: RemoteEnv, name: str) -> None:
    if name.startswith("dlpack") and env.target["numpy"].startswith("1.1"):
        pytest.skip("numpy before 1.22 has no from_dlpack")
    env.unwrapped.call("give", name)
    array = ARRIVES[name]
    assert same(env.reset(), (array, {"value": array, "nested": [(array,)]}))
    assert same(env.step(np.zeros(2, np.float32)), ({"a": array}, array, array, False, {"value": array}))
    assert same(env.render(), [array, array])
    assert same(env.unwrapped.value, array)
    assert same(env.metadata["tensor"], ROW)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:.*arrives as an Opaque")
def test_what_has_no_array_is_refused_with_the_reason(env: RemoteEnv, name: str) -> None:
    env.unwrapped.call("give", name)
    with pytest.raises(CannotCross, match=REFUSED[name]):
        env.reset()
    env.unwrapped.call("give", "tensor")
    assert same(env.reset()[0], ROW)


def test_what_was_converted_is_told() -> None:
    with arrays_env(kwargs={"name": "tensor on a device"}) as env:
        assert env.target["arrays"] == "torch cpu"  # from the metadata
        env.reset()
        assert env.target["arrays"] == "torch cpu, torch cuda:0"


def test_one_warning_for_a_class_with_nothing_but_array() -> None:
    with arrays_env(kwargs={"name": "only an array"}) as env:
        with pytest.warns(UserWarning, match="array_likes.OnlyArray has nothing but __array__") as caught:
            env.reset()
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env.reset()
            env.step(np.zeros(2, np.float32))


def test_bfloat16_is_float32_without_ml_dtypes_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with arrays_env(kwargs={"name": "bfloat16"}) as env:
        with pytest.warns(UserWarning, match="bfloat16 arrive as float32") as caught:
            observation, info = env.reset()
        assert len(caught) == 1
        assert same(observation, np.array([1.0, -2.0, np.inf], np.float32))
        assert same(info["value"], observation)


def test_an_array_owns_its_memory_and_can_be_written() -> None:
    with arrays_env(kwargs={"name": "large tensor"}) as env:
        first = env.reset()[0]
        first[:] = 7
        assert same(env.reset()[0], PIXELS)
        assert (first == 7).all()


def described(env: RemoteEnv, action: Any) -> Any:
    env.step(action)
    return env.unwrapped.call("told")


@pytest.mark.parametrize(
    ("observation", "actions", "expected"),
    [
        ("tensor", None, ("torch.Tensor", "cpu")),
        ("tensor on a device", None, ("torch.Tensor", "cuda:0")),
        ("tensor of a subclass", None, ("torch.Tensor", "cpu")),
        ("only an array", None, ("numpy.ndarray", None)),
        ("tensor", "numpy", ("numpy.ndarray", None)),
        ("only an array", "torch", ("torch.Tensor", "cpu")),
        ("tensor", "torch:cuda:1", ("torch.Tensor", "cuda:1")),
    ],
)
@pytest.mark.filterwarnings("ignore:.*nothing but __array__")
def test_actions_are_arrays_of_the_framework(observation: str, actions: str | None, expected: Any) -> None:
    given = {} if actions is None else {"actions": actions}
    with arrays_env(kwargs={"name": observation}, **given) as env:
        env.reset()
        for action in (np.array([0.5, -0.5], np.float32), np.array([1, 2], np.int8)):  # only the first fits the layout
            assert same(described(env, action), (*expected, action))
            assert same(described(env, {"a": action, "b": action}), dict.fromkeys("ab", (*expected, action)))
        assert described(env, 3) == ("builtins.int", None, 3)


def test_an_action_in_a_dtype_that_the_framework_lacks_stays_numpys() -> None:
    swapped = np.array([1, 2], np.dtype(np.int16).newbyteorder())
    with arrays_env(kwargs={"name": "tensor of a subclass"}) as env:
        env.reset()
        assert env.target["arrays"] == "torch cpu"
        for action in (np.array([1, 2], np.uint32), np.array([1, 2], np.longdouble)):
            assert same(described(env, action), ("numpy.ndarray", None, action))
        assert same(described(env, swapped), ("torch.Tensor", "cpu", swapped.astype(np.int16)))


def test_actions_of_a_framework_that_is_not_there() -> None:
    with arrays_env(actions="jax") as env:
        env.reset()
        with pytest.raises(EnvError, match='has not imported jax\n  try: imports = \\["jax"\\]'):
            env.step(np.zeros(2, np.float32))


def test_tensors_arrive_as_tensors_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    with arrays_env(kwargs={"name": "large tensor"}, arrays="torch") as env:
        observation, info = env.reset()
        for tensor in (observation, info["value"], info["nested"][0][0], env.unwrapped.value):
            assert type(tensor) is stand_in.Tensor
            assert same(tensor.numpy(), PIXELS)
        assert not observation.numpy().flags.owndata
        env.unwrapped.call("give", "only an array")
        with pytest.warns(UserWarning, match="nothing but __array__"):
            assert same(env.reset()[0], PIXELS)  # it was not a tensor
        monkeypatch.setattr(stand_in.Tensor, "__module__", "torch")  # in the test its module has another name
        env.unwrapped.call("give", "tensor on a device")
        env.reset()
        assert same(described(env, stand_in.Tensor(ROW)), ("torch.Tensor", "cuda:0", ROW))


def test_arrays_of_a_framework_that_this_interpreter_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match='arrays = "torch" needs torch'):
        gym_service.make("x", python=str(TARGETS[NEW].python()), entry_point="array_likes:ArraysEnv", arrays="torch")


def of_objects(*items: Any) -> Any:
    """What Gymnasium makes of values that are no numbers and no arrays of numpy's: an array of objects."""
    array = np.full(len(items), None, object)
    for index, item in enumerate(items):
        array[index] = item
    return array


needs_vector_envs = pytest.mark.skipif(int(gymnasium.__version__[0]) < 1, reason="vector envs need Gymnasium 1.0 here")


@needs_vector_envs
@pytest.mark.filterwarnings("ignore:.*nothing but __array__")
def test_a_vector_env_stacks_them() -> None:
    where = {"python": str(TARGETS[NEW].python()), "pythonpath": FOLDERS, "kwargs": {"name": "tensor"}}
    envs = gym_service.make_vec("x", 3, entry_point="array_likes:StackedEnv", workers=2, **where)
    try:
        observations, infos = envs.reset()
        assert same(observations, np.stack([ROW] * 3))
        assert same(infos["value"], of_objects(ROW, ROW, ROW))
        observations = envs.step(np.ones((3, 2), np.float32))[0]
        assert same(observations, np.stack([ROW] * 3))
        assert [told[:2] for told in envs.call("told")] == [("torch.Tensor", "cpu")] * 3
        assert envs.targets[0]["arrays"] == "torch cpu"
    finally:
        envs.close()


@needs_vector_envs
@pytest.mark.filterwarnings("ignore:.*nothing but __array__")
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_tensors_in_the_infos_of_a_vector_env_are_not_stacked(mode: str) -> None:
    names = ["tensor without dimensions", None, "tensor", "only an array"]
    where = {"python": str(TARGETS[NEW].python()), "pythonpath": FOLDERS}
    envs = gym_service.make_vec("x", 4, entry_point="array_likes:InfosEnv", workers=2, autoreset_mode=mode, **where)
    values = of_objects(*(None if name is None else ARRIVES[name] for name in names))
    given = np.array([name is not None for name in names])
    column = {"value": values, "_value": given}
    expected = {**column, "nested": column, "_nested": given, "number": given.astype(int), "_number": given}
    try:
        envs.set_attr("name", names)
        assert same(envs.reset()[1], expected)
        infos = envs.step(np.ones((4, 2), np.float32))[4]
        assert same({key: infos[key] for key in expected}, expected)
        if mode == "SameStep":
            assert same(infos["final_info"], expected)
        envs.reset()
        envs.send(np.ones((2, 2), np.float32), [0, 2])
        infos, env_ids = envs.recv(2)[4:]
        infos = infos.get("final_info", infos)
        assert same(infos["value"], values[env_ids])
    finally:
        envs.close()
