"""Values per env, objects of the target, and configurations as plain data, in kwargs, wrappers and environ."""

import dataclasses
import enum
import gc
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gym_service_launcher.config.envs_file import parse
from gym_service_launcher.config.validation import Location
from gym_service_launcher.errors import ConfigError
from support.opened import opened
from support.paths import ENVS
from support.targets import REPOSITORY, TARGETS

import gym_service
from gym_service.client.plain_data import plain_data
from gym_service.errors import CannotCross
from gym_service.factory.per_env import Place, filled

TARGET = "py312-gymnasium14"
WAYS: dict[str, dict[str, Any]] = {
    "unix": {},
    "stdio": {"transport": "stdio"},
    "prefork": {"prefork": True},
    "command": {"command": ["env"]},
}
KWARGS = {"port": "{index+5000}", "name": "env {index} of {num_envs}", "deep": [{"worker": "{worker}"}], "left": "{x}"}
modern = pytest.mark.skipif(int(gymnasium.__version__[0]) < 1, reason="vector envs need gymnasium 1.0")


def vector(num_envs: int, **given: Any) -> Any:
    where = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "entry_point": "set_up:NestedEnv"}
    return gym_service.make_vec("SetUp", num_envs, **{**where, **given})


def test_what_a_placeholder_becomes() -> None:
    place = Place(3, 1, 8)
    for text, value in {
        "{index}": 3,
        "{index+5000}": 5003,
        "{index-4}": -1,
        "{worker}": 1,
        "{num_envs}": 8,
        "{index}{worker}": "31",
        "port {index+1}": "port 4",
        "{{index}}": "{index}",
        "{{index+1}} {index}": "{index+1} 3",
        "{0} {name} {} {{x}}": "{0} {name} {} {{x}}",
        '{"index": 1}': '{"index": 1}',
        "{indexed}": "{indexed}",
    }.items():
        assert filled(text, place, "kwargs.x") == value
        assert type(filled(text, place, "kwargs.x")) is type(value)
    untouched = {"a": (1, "b"), 2: [object()]}
    assert filled(untouched, place, "kwargs") is untouched
    assert filled({"a": ("{index}", [{"b": "{worker}"}])}, place, "kwargs") == {"a": (3, [{"b": 1}])}
    for mistake in ("{index+x}", "{index * 2}", "{worker.1}", "a {num_envs+}"):
        with pytest.raises(ConfigError, match=r"kwargs\.x.a: .*is not a placeholder; expected \{index\}"):
            filled({"a": mistake}, place, "kwargs.x")


@modern
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_each_env_gets_its_own_values_over_each_way(way: str) -> None:
    wrappers = [{"wrapper": "set_up:Scaled", "kwargs": {"by": "{index}"}}]
    envs = vector(3, workers=2, kwargs=KWARGS, wrappers=wrappers, environ={"DEVICE": "gpu {worker}"}, **WAYS[way])
    try:
        given = envs.call("given")
        assert [one["port"] for one in given] == [5000, 5001, 5002]
        assert [one["name"] for one in given] == [f"env {index} of 3" for index in range(3)]
        assert [one["deep"] for one in given] == [[{"worker": worker}] for worker in (0, 0, 1)]
        assert {one["left"] for one in given} == {"{x}"}
        assert [by for by, _ in envs.call("scale")] == [0, 1, 2]
        assert envs.call("variables", "DEVICE") == (["gpu 0"], ["gpu 0"], ["gpu 1"])
    finally:
        envs.close()


@modern
def test_an_index_in_environ_needs_a_worker_for_each_env() -> None:
    with pytest.raises(ConfigError, match=r"environ\.PORT: \{index\} needs a worker for each env"):
        vector(3, workers=2, environ={"PORT": "{index+7000}"})
    for prefork in (False, True):  # each different environ has its own fork server
        envs = vector(2, workers=2, environ={"PORT": "{index+7000}"}, prefork=prefork)
        try:
            assert envs.call("variables", "PORT") == (["7000"], ["7001"])
        finally:
            envs.close()


def test_a_single_env_is_the_first_of_one() -> None:
    with opened("x", entry_point="set_up:SetUpEnv", kwargs=KWARGS, environ={"D": "{worker}{index}"}) as env:
        assert env.get_wrapper_attr("given")["name"] == "env 0 of 1"
        assert env.call("variables", "D") == ["00"]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_object_of_the_target_arrives_as_itself(way: str) -> None:
    config = {"object": "set_up:CONFIG"}
    keys = {
        "kwargs": {"cfg": config, "more": {"deep": [{"object": "cube"}, {"object": "a:b", "x": 1}]}},
        "wrappers": [{"wrapper": "set_up:Scaled", "kwargs": {"cfg": config, "by": 2}}, "set_up:Scaled"],
    }
    with opened("x", entry_point="set_up:NestedEnv", **keys, **WAYS[way]) as env:
        assert env.call("is_the_config") == (True, {"deep": [{"object": "cube"}, {"object": "a:b", "x": 1}]})
        assert env.call("scale") == (1, False)  # the outer wrapper's
        assert env.call("env.scale") == (2, True)


@dataclasses.dataclass
class Inner:
    sizes: tuple[int, ...] = (1, 2)


@dataclasses.dataclass
class Config:
    name: str = "reach"
    inner: Inner = dataclasses.field(default_factory=Inner)


class Level(Inner, enum.Enum):
    LOW = ((1,),)


class Hiding:
    __slots__ = ("hidden",)


@dataclasses.dataclass
class Slotted(Hiding):
    shown: int

    def __post_init__(self) -> None:
        self.hidden = 3


@dataclasses.dataclass
class Output(OrderedDict[str, float]):
    loss: float


def test_configurations_cross_as_plain_data_where_that_loses_nothing() -> None:
    assert plain_data({"a": [Config()]}, "$") == {"a": [{"name": "reach", "inner": {"sizes": (1, 2)}}]}
    assert plain_data(OrderedDict(a=Config()), "$") == {"a": {"name": "reach", "inner": {"sizes": (1, 2)}}}
    untouched = {"a": [1, (2,)], "b": OrderedDict(c=Level.LOW), "d": Config}
    assert plain_data(untouched, "$") is untouched
    more, gone = Config(), Config()
    more.other = 1  # type: ignore[attr-defined]
    del gone.inner
    for value, reason in {
        "more": (more, "other is no field"),
        "gone": (gone, "inner has no value"),
        "slots": (Slotted(1), "hidden is no field"),
        "a dict too": (Output(loss=1.0), "it is a dict too"),
    }.values():
        with pytest.raises(CannotCross, match=rf"^\$\.a is a .*, .*{reason}.*\n  try: "):
            plain_data({"a": value}, "$")
    with opened("x", entry_point="set_up:SetUpEnv", kwargs={"cfg": Config()}) as env:
        assert env.get_wrapper_attr("given") == {"cfg": {"name": "reach", "inner": {"sizes": (1, 2)}}}


def test_a_value_that_contains_itself_is_refused_as_ever() -> None:
    endless: list[Any] = ["{index}"]
    endless.append({"again": endless})
    # A finalizer that the collector ran in the deepest call would have no room, and pytest calls that an error.
    gc.disable()
    try:
        with pytest.raises(CannotCross), opened("x", entry_point="set_up:SetUpEnv", kwargs={"cfg": endless}):
            pass
    finally:
        gc.enable()


def test_omegaconf_crosses_where_everything_in_it_has_a_value() -> None:
    omegaconf = pytest.importorskip("omegaconf", reason="omegaconf is missing (python3 project.py venv)")
    config = omegaconf.OmegaConf.create({"a": 1, "b": "${a}", "c": [{"d": None}]})
    found = plain_data({"x": config}, "$")
    assert found == {"x": {"a": 1, "b": 1, "c": [{"d": None}]}}
    assert type(found["x"]) is dict
    typed = omegaconf.OmegaConf.structured(Inner(sizes=(3,)))
    assert list(plain_data([Config(name=typed)], "$")[0]["name"]["sizes"]) == [3]  # type: ignore[arg-type]
    for text in ("???", "${nowhere}"):
        with pytest.raises(CannotCross, match=r"\$\.x is a omegaconf.*\n  try: "):
            plain_data({"x": omegaconf.OmegaConf.create({"a": text})}, "$")


class EnvContext(dict[str, Any]):
    """Like RLlib's: the config of an env, and the worker and env that it is for."""

    def __init__(self, config: dict[str, Any], worker_index: int, vector_index: int = 0, **more: Any) -> None:
        super().__init__(config)
        self.worker_index, self.vector_index = worker_index, vector_index
        self.remote, self.num_workers, self.recreated_worker = False, None, False
        vars(self).update(more)


def test_a_context_of_rllib_crosses_where_it_says_nothing_beside_its_items() -> None:
    for context in (EnvContext({"a": [Inner()]}, 0), EnvContext({"a": [Inner()]}, 0, num_workers=0)):
        found = plain_data({"config": context}, "$")
        assert found == {"config": {"a": [{"sizes": (1, 2)}]}}
        assert type(found["config"]) is dict
    for given in (
        {"worker_index": 1},
        {"worker_index": 0, "vector_index": 2},
        {"worker_index": 0, "num_workers": 2},  # what works in the first worker must work in the others
        {"worker_index": 0, "remote": True},
        {"worker_index": 0, "recreated_worker": True},
    ):
        name, value = list(given.items())[-1]
        with pytest.raises(CannotCross, match=rf"{name}={value} would be lost\n  try: dict\(config\)"):
            plain_data({"config": EnvContext({"a": 1}, **given)}, "$")
    with opened("x", entry_point="set_up:SetUpEnv", kwargs={"config": EnvContext({"a": 1}, 0)}) as env:
        assert env.get_wrapper_attr("given") == {"config": {"a": 1}}


DOCS = Location(None, Path(), "docs/set-ups.md")


def documented(name: str) -> dict[str, Any]:
    """The keys of an entry in an example of docs/set-ups.md, with a simulator of the tests in place of the real one."""
    text = (REPOSITORY / "docs/set-ups.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "workers" in block]
    ((keys),) = [parse(block.encode(), DOCS)["envs"][name] for block in blocks if name in block]
    return {**keys, "python": str(TARGETS[TARGET].python()), "entry_point": "set_up:NestedEnv", "workers": 2}


@modern
@pytest.mark.slow
def test_the_examples_of_the_docs_run() -> None:
    envs = vector(3, **documented("Arm-v0"))
    assert [(one["port"], one["name"]) for one in envs.call("given")] == [
        (5000, "arm 0 of 3"),
        (5001, "arm 1 of 3"),
        (5002, "arm 2 of 3"),
    ]
    envs.close()
    envs = vector(4, **documented("Camera-v0"))
    assert envs.call("variables", "CUDA_VISIBLE_DEVICES") == (["0"], ["0"], ["1"], ["1"])
    envs.close()
