"""Reads, calls and assignments of nested attributes, by name; completion; and the permissions for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import pytest
from support.opened import opened
from support.paths import ENVS
from support.serving import running
from support.targets import TARGETS

import gym_service
from gym_service.errors import EnvError
from gym_service.protocol.values import BadValue
from gym_service.server.permissions import NotPermitted, Permissions

TARGET = "py312-gymnasium14"
NESTED = {"entry_point": "set_up:NestedEnv"}


@pytest.mark.parametrize("target", ["py36-gym021", TARGET])
def test_names_with_dots_lead_into_the_simulators_objects(target: str) -> None:
    with opened("x", target=target, wrappers=["set_up:Scaled"], **NESTED) as env:
        assert env.call("sim.double", 4) == 8
        assert env.get_wrapper_attr("sim.limit") == 7
        assert env.get_wrapper_attr("sim.data") == [1, 2]
        assert env.get_wrapper_attr("sim.double")(3) == 6
        assert env.set_wrapper_attr("sim.limit", 9) is True
        assert env.get_wrapper_attr("sim.limit") == 9
        assert env.set_wrapper_attr("sim.nothing", 9, force=False) is False
        assert [env.has_wrapper_attr(name) for name in ("sim.limit", "sim.nothing", "nothing.at.all")] == [1, 0, 0]
        with pytest.raises(AttributeError, match="nothing"):
            env.get_wrapper_attr("sim.nothing")
        with pytest.raises(AttributeError, match="private"):
            env.set_wrapper_attr("sim._limit", 9)


def test_a_private_name_is_the_simulators_where_it_is_asked_for() -> None:
    with opened("x", **NESTED) as env:
        assert env.call("_secret", 4) == 5
        assert env.get_wrapper_attr("_private") == "private"
        assert env.has_wrapper_attr("_private")
        assert not hasattr(env, "_private")


def test_a_private_name_is_never_one_of_the_clients_own() -> None:
    with opened("x", entry_point="set_up:PrivateEnv") as env:
        env.reset()
        for name in ("_target", "_layout", "_spec"):
            assert env.has_wrapper_attr(name)
            assert env.get_wrapper_attr(name) == name[1:]
            with pytest.raises(AttributeError, match="private"):
                env.set_wrapper_attr(name, 2.0)
        assert env.get_wrapper_attr("_call")() == "called"
        assert not env.has_wrapper_attr("_connection")
        assert not env.has_wrapper_attr("sim.")
        assert env.has_wrapper_attr("__class__")
        assert env.step(0)[1] == 0.0


def test_a_keyword_of_the_name_object_is_a_keyword_like_any_other() -> None:
    with opened("x", entry_point="set_up:PrivateEnv", kwargs={"object": "ycb:banana"}) as env:
        assert env.get_wrapper_attr("object") == "ycb:banana"
    with opened("x", entry_point="set_up:PrivateEnv", kwargs={"object": {"object": "set_up:CONFIG"}}) as env:
        assert env.get_wrapper_attr("object") == {"size": 3}


def test_completion_knows_the_simulators_names() -> None:
    with opened("x", **NESTED) as env:
        names = dir(env)
        assert {"sim", "is_the_config", "reset", "get_wrapper_attr", "target"} <= set(names)
        assert not {"_private", "seed"} & set(names)
    assert "sim" not in dir(env)
    assert "reset" in dir(env)


def test_seed_says_how_the_simulators_is_reached() -> None:
    with opened("x", **NESTED) as env:
        assert not hasattr(env, "seed")
        with pytest.raises(AttributeError, match=r'try: env\.unwrapped\.call\("seed", …\)'):
            _ = env.seed
        assert env.call("seed", 5) == [5]
        assert env.get_wrapper_attr("sim.data") == [5]


@pytest.mark.skipif(int(gymnasium.__version__[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_a_vector_env_reads_and_sets_nested_names_too() -> None:
    python = str(TARGETS[TARGET].python())
    envs = gym_service.make_vec("x", 2, workers=2, python=python, pythonpath=[ENVS], **NESTED)
    try:
        envs.set_attr("sim.limit", [1, 2])
        assert envs.get_attr("sim.limit") == (1, 2)
        assert envs.call("sim.double", 4) == (8, 8)
        assert envs.call("_secret", 1) == (2, 2)
    finally:
        envs.close()


# A client may request this only from its own server, or from one with --allow-import.
OBJECT = {"object": "os:environ"}
GIVEN: dict[str, tuple[dict[str, Any], str]] = {
    "setup": ({"setup": ["os:getpid"]}, r"setup = \['os:getpid'\]"),
    "argv": ({"argv": ["x"]}, r"argv = \['x'\]"),
    "object": ({"kwargs": {"cfg": OBJECT}}, r"\{ object = 'os:environ' \}"),
    "object, deep": ({"kwargs": {"cfg": [({"a": OBJECT},)]}}, r"\{ object = 'os:environ' \}"),
    "wrapper": ({"wrappers": [{"wrapper": "set_up:Scaled", "kwargs": {}}]}, "wrappers"),
    "wrapper with an object": ({"wrappers": [{"wrapper": "set_up:Scaled", "kwargs": {"cfg": OBJECT}}]}, "wrappers"),
}


@contextmanager
def closed() -> Iterator[str]:
    with running(str(TARGETS[TARGET].python()), "--pythonpath", str(ENVS), "set_up_ids:SetUp-v0") as serving:
        yield serving.address


@contextmanager
def allowing() -> Iterator[str]:
    with running(str(TARGETS[TARGET].python()), "--pythonpath", str(ENVS), "--allow-import") as serving:
        yield serving.address


@pytest.mark.slow
def test_a_server_of_somebody_else_refuses_what_leads_further() -> None:
    with closed() as address:
        for keys, said in GIVEN.values():
            with pytest.raises(EnvError, match=rf"{said}: this server is not the client's own(.|\n)*--allow-import"):
                gym_service.make("SetUp-v0", address=address, **keys)


@pytest.mark.slow
def test_and_a_server_that_allows_imports_does_it() -> None:
    with allowing() as address:
        for keys, _ in GIVEN.values():
            gym_service.make("x", address=address, **NESTED, **keys).close()


NAMES = ["sim.limit", "sim.module.getpid", "_private", "_secret", "sim.__init__.__globals__"]


@pytest.mark.slow
def test_names_that_lead_further_are_refused() -> None:
    with closed() as address, gym_service.make("SetUp-v0", address=address) as env:
        for name in NAMES:
            for ask in (env.get_wrapper_attr, env.call, lambda name: env.set_wrapper_attr(name, 1)):
                with pytest.raises(EnvError, match=r"attribute '.*not the client's own(.|\n)*--allow-import"):
                    ask(name)
            with pytest.raises(EnvError, match="not the client's own"):
                env.has_wrapper_attr(name)
        with pytest.raises(EnvError, match="not the client's own"):
            env.call("__class__")
        for reader in ("get_wrapper_attr", "has_wrapper_attr", "set_wrapper_attr"):  # Gymnasium's, in the simulator
            for args, kwargs in ((("_private",), {}), ((), {"name": "_private"})):
                with pytest.raises(EnvError, match=r"attribute '_private'.*not the client's own"):
                    env.call(reader, *args, **kwargs)
        assert env.call("get_wrapper_attr", "given") == env.get_wrapper_attr("given") == {}


@pytest.mark.parametrize("reader", ["get_attr", "env_method", "getattr_recursive", "getattr_depth_check", "callmethod"])
def test_a_method_that_takes_a_name_is_told_no_private_one(reader: str) -> None:
    for args, kwargs in ((("_private",), {}), ((), {"attr_name": "sim.limit"}), (("get_wrapper_attr", "_private"), {})):
        with pytest.raises(NotPermitted, match="the attribute"):
            Permissions(False, False).check_call(reader, args, kwargs)
        Permissions(True, False).check_call(reader, args, kwargs)
    Permissions(False, False).check_call(reader, ("gravity",), {})


@pytest.mark.slow
def test_names_that_lead_further_are_allowed_with_imports() -> None:
    with allowing() as address, gym_service.make("x", address=address, **NESTED) as env:  # type: ignore[arg-type]
        assert env.get_wrapper_attr("sim.limit") == 7
        assert env.get_wrapper_attr("_private") == "private"
        assert env.call("sim.module.getpid") == env.target["pid"]


@pytest.mark.slow
@pytest.mark.skipif(int(gymnasium.__version__[0]) < 1, reason="vector envs need gymnasium 1.0")
def test_values_per_env_are_judged_for_each_env() -> None:
    with closed() as address:
        _judge_each(address)


def _judge_each(address: str) -> None:
    given = {"kwargs": {"index": "{index}", "cfg": OBJECT}}
    with pytest.raises(EnvError, match="not the client's own"):
        gym_service.make_vec("SetUp-v0", 2, address=address, **given)
    envs = gym_service.make_vec("SetUp-v0", 2, address=address, kwargs={"index": "{index}"})
    assert [one["index"] for one in envs.call("given")] == [0, 1]
    with pytest.raises(EnvError, match="not the client's own"):
        envs.call("sim.limit")
    envs.close()


def test_the_recipes_of_a_batch_differ_in_nothing_that_is_judged_once() -> None:
    recipe = {"id": "CartPole-v1", "entry_point": None, "imports": [], "kwargs": {}, "wrappers": []}
    for own in ({"entry_point": "os:system"}, {"id": "os:x"}, {"setup": ["os:abort"]}, {"imports": ["x"]}):
        batch = {"count": 2, "each": [{}, own]}
        for rules in (Permissions(False, False), Permissions(False, False, ["CartPole-v1"])):
            with pytest.raises(BadValue, match="not the recipes of 2 envs"):
                rules.check({**recipe, "batch": batch})
    for values in ({"kwargs": {"x": OBJECT}}, {"wrappers": ["os:abort"]}, {"kwargs": {"env_id": "os:x"}}):
        with pytest.raises(NotPermitted):
            Permissions(False, False).check({**recipe, "batch": {"count": 2, "each": [{}, values]}})
