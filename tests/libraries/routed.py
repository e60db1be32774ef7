"""A pytest plugin: runs Gymnasium's own tests with their envs through gym-service.

``python -m pytest -p routed …`` in a folder that contains Gymnasium's ``tests``, with this file's folder on PYTHONPATH.
It routes two kinds of env through gym-service, into a server with the same interpreter:

- the bare env that ``gym.make`` and ``gym.make_vec`` (sync, async) make from an entry point that is a text. Wrappers
  of Gymnasium stay in the client;
- ``tests.testing_env.GenericTestEnv``, which most tests of wrappers use, if a running test makes it: its functions
  travel to the server as a callable that a user passes on purpose.

If such an env returns arrays of jax or torch, its entry sets ``arrays`` to that framework, as a user's would.
It does not route envs that a test constructs from its own class, or the hundred generic envs, one for each space, that
the suite makes before its first test. The last lines of the report say how many tests have driven a remote env.
``cannot_pass.toml`` lists, with reasons, the tests that cannot pass; the run fails if one of them passes.

Knows Gymnasium's registration and pytest. Python 3.10 and up.
"""

import functools
import importlib
import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs import registration
from remaking import remade

import gym_service

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).absolute().parent
SUITE = Path.cwd()
GENERIC = "tests.testing_env:GenericTestEnv"
# The framework of an env's arrays, by the prefix of its entry point, or of the test that makes it.
FRAMEWORKS = {
    "gymnasium.envs.phys2d": "jax",
    "gymnasium.envs.tabular": "jax",
    "tests/wrappers/test_jax_to_": "jax",
    "tests/wrappers/test_array_conversion.py::test_array_conversion_wrapper[jax": "jax",
    "tests/wrappers/test_array_conversion.py::test_array_conversion_wrapper[torch": "torch",
}
# A test must leave no trace for the next one.
opened: list[gym_service.RemoteEnv] = []
driven: Counter[str] = Counter()
counted = {"calls": 0}
running: list[str] = []


def remote(entry_point: str, **given: Any) -> gym_service.RemoteEnv:
    """The env that this entry point makes, in its own server."""
    counted["calls"] += 1
    where = {"python": sys.executable, "pythonpath": [str(SUITE), str(HERE)]}
    places = (entry_point, *running)
    wanted = [named for start, named in FRAMEWORKS.items() if any(place.startswith(start) for place in places)]
    env = gym_service.make(entry_point, entry_point=entry_point, arrays=(*wanted, "numpy")[0], **where, **given)
    opened.append(env)
    return env


def routed_creator(entry_point: str) -> Any:
    """Replaces ``load_env_creator``: an env is made remotely; wrappers and vector envs are made here."""
    creator = load_env_creator(entry_point)
    is_class = inspect.isclass(creator)
    if is_class and not (issubclass(creator, gymnasium.Env) and not issubclass(creator, gymnasium.Wrapper)):
        return creator
    if not callable(creator) or creator.__module__.startswith(("gym_service", "gymnasium.wrappers")):
        return creator

    def create(**kwargs: Any) -> gym_service.RemoteEnv:
        return remote(entry_point, kwargs=kwargs)

    if hasattr(creator, "metadata"):
        create.metadata = creator.metadata  # type: ignore[attr-defined]
    return create


load_env_creator = registration.load_env_creator


def route_generic_env() -> None:
    """Make the tests' class create its envs in a server, except for subclasses."""
    module = importlib.import_module("tests.testing_env")
    cls = module.GenericTestEnv

    def make(asked: type, *args: Any, **kwargs: Any) -> Any:
        if asked is not cls or not running:
            return object.__new__(asked)
        env = remote(GENERIC, wrappers=[functools.partial(remade, GENERIC, args, kwargs)])
        env.spec = kwargs.get("spec") or registration.EnvSpec("TestingEnv-v0", GENERIC, max_episode_steps=100)
        return env

    cls.__new__ = make


def pytest_configure(config: pytest.Config) -> None:
    """Route before any test module makes its first env."""
    registration.load_env_creator = routed_creator
    route_generic_env()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that cannot pass."""
    reasons = {
        pattern: table["reason"]
        for table in tomllib.loads((HERE / "cannot_pass.toml").read_text(encoding="utf-8"))["group"]
        for pattern in table["tests"]
    }
    for item in items:
        found = next((pattern for pattern in reasons if is_of(item.nodeid, pattern)), None)
        if found:
            item.add_marker(pytest.mark.xfail(reason=reasons[found], strict=True))


def is_of(nodeid: str, pattern: str) -> bool:
    """Whether it is this test, one with its parameters, or one of this module; ``…`` matches any text."""
    head, stands_for_any, tail = pattern.partition("…")
    if stands_for_any:
        return nodeid.startswith(head) and nodeid.endswith(tail)
    return nodeid == pattern or nodeid.startswith((f"{pattern}[", f"{pattern}::"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the remote envs that a test makes, and close those that it leaves open."""
    before = counted["calls"]
    kept = list(opened)  # those that the test modules hold for all their tests
    running.append(item.nodeid)
    result = yield
    running.clear()
    if counted["calls"] > before:
        driven[item.nodeid] += 1
    for env in opened[len(kept) :]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            env.close()
    del opened[len(kept) :]
    return result


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"{len(driven)} tests have made a remote env, {counted['calls']} envs in all")
