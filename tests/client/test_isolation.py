"""A simulator sees nothing of the client. The keys of the entry take effect around it."""

import ast
import copy
import os
import site
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import procfs
from support.opened import TARGET, opened
from support.paths import ENVS, REPOSITORY
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv, errors
from gym_service.client.env import RemoteMethod

EVERY_API = (
    "py36-gym021",
    "py38-gym025",
    "py38-gym026",
    "py38-gymnasium028",
    "py310-gymnasium029",
    "py313-gymnasium14",
)
OLD_AND_NEW = ("py36-gym021", TARGET)
REGISTERED_STEPS = 5
SAME_PYTHON = {
    (3, 10): "py310-gymnasium029",
    (3, 11): "py311-gymnasium10",
    (3, 12): "py312-gymnasium14",
    (3, 13): "py313-gymnasium14",
}[sys.version_info[:2]]
ANOTHER_PYTHON = "py38-gymnasium028"

# Old gyms give these warnings about the envs that must run under all gyms.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Future gym versions")


def reporting(target: str = TARGET, **given: Any) -> Any:
    return opened("Reporting-v0", "reporting", target, **given)


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize("target", OLD_AND_NEW)
def test_nothing_of_the_clients_packages_is_loaded_or_importable(target: str, transport: str) -> None:
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages(), sys.prefix}
    with reporting(target, transport=transport) as env:
        env.reset()
        env.step(0)
        modules, path = env.modules(), env.path()
    assert "numpy" in modules
    assert "gym_service" not in modules  # a bare package has no file, so its __init__ did not run
    assert not any(name.startswith("gym_service.client") for name in modules)
    assert str(REPOSITORY / "gym_service" / "__init__.py") not in modules.values()
    for name, file in modules.items():
        assert not any(file.startswith(f"{folder}/") for folder in folders), name
        is_ours = file.startswith(f"{REPOSITORY}/") and not file.startswith(f"{ENVS}/")
        assert not is_ours or name.startswith(("gym_service.", "__main__", "__mp_main__")), name
    assert path[0] == str(ENVS)
    for entry in path:
        assert entry
        is_ours = any(Path(entry).is_relative_to(folder) for folder in (REPOSITORY, *folders))
        assert Path(entry) == ENVS or not is_ours, entry


def test_the_variables_of_the_clients_interpreter_do_not_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    leading_home = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")
    for name in leading_home:
        monkeypatch.setenv(name, str(REPOSITORY))
    monkeypatch.setenv("OF_THE_USER", "stays")
    with reporting() as env:
        environ, process = env.environ(), env.process()
    assert [name for name in leading_home if name in environ] == ["PYTHONPATH"]
    assert environ["PYTHONPATH"] == str(ENVS)
    assert environ["OF_THE_USER"] == "stays"
    python = TARGETS[TARGET].python()
    assert environ["PATH"].split(os.pathsep)[0] == str(python.parent)
    assert process["executable"] == str(python)
    assert process["prefix"] == str(TARGETS[TARGET].folder)
    assert process["flags"] == [0, 0, 0]


def test_the_variables_of_an_entry_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    given = {"PYTHONPATH": str(ENVS), "VIRTUAL_ENV": "/the/entry's", "MUJOCO_GL": "osmesa", "PATH": "/bin"}
    with reporting(environ=given, pythonpath=[]) as env:
        environ = env.environ()
    assert {name: environ[name] for name in given} == given


def test_the_working_directory_is_the_clients_and_is_not_importable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "planted.py").write_text("raise SystemExit('a module of the working directory')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('a module of the working directory')")
    monkeypatch.chdir(tmp_path)
    with reporting() as env:
        assert env.process()["cwd"] == str(tmp_path)
        assert not {"", ".", str(tmp_path)} & set(env.path())
    with (
        pytest.raises(errors.ServerStartError, match="No module named 'planted'") as caught,
        reporting(imports=["planted"]),
    ):
        pass
    assert isinstance(caught.value, ImportError)
    assert type(copy.copy(caught.value)) is errors.ImportFailed


def test_an_entry_may_say_another_working_directory(tmp_path: Path) -> None:
    with reporting(cwd=str(tmp_path)) as env:
        assert env.process()["cwd"] == str(tmp_path)


@pytest.mark.parametrize("transport", ["unix", "stdio"])
@pytest.mark.parametrize("target", OLD_AND_NEW)
def test_children_of_the_simulator_do_not_inherit_the_channel(target: str, transport: str) -> None:
    with reporting(target, transport=transport) as env:
        fds = ast.literal_eval(env.fds_of_a_child())
    assert set(fds) == {"0", "1", "2"}, fds
    assert fds["0"] == "/dev/null"


@pytest.mark.parametrize("own_session", [False, True])
def test_close_leaves_no_process(own_session: bool) -> None:
    with reporting() as env:
        pids = [env.process()["pid"], env.fork(own_session)]
        assert all(is_running(pid) for pid in pids)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    return bool(procfs.state(pid))


# -- what an entry changes ---------------------------------------------------------------------------------------


def episode_steps(env: RemoteEnv) -> int:
    """The length of an episode that only the time limit ends."""
    env.reset(seed=1)
    for count in range(1, 50):
        _, _, terminated, truncated, _ = env.step(0)
        assert not terminated
        if truncated:
            return count
    raise AssertionError("no end")


@pytest.mark.parametrize("target", EVERY_API)
def test_max_episode_steps_shortens_and_lengthens(target: str) -> None:
    for wanted in (3, 9):
        with reporting(target, max_episode_steps=wanted) as env:
            assert (env._max_episode_steps, episode_steps(env), episode_steps(env)) == (wanted,) * 3
    with reporting(target, entry_point="reporting:make_env", max_episode_steps=4) as env:
        assert (env._max_episode_steps, episode_steps(env), episode_steps(env)) == (4,) * 3


@pytest.mark.parametrize("target", OLD_AND_NEW)
def test_an_entry_point_stands_in_for_an_id(target: str) -> None:
    with reporting(target, entry_point="reporting:make_env", kwargs={"flavour": "sweet"}) as env:
        assert env.flavour == "sweet"
        assert env._max_episode_steps is None
        env.reset()
        assert len(env.step(0)) == 5


@pytest.mark.parametrize("target", EVERY_API)
def test_wrappers_stand_around_the_registered_ones(target: str) -> None:
    with reporting(target, wrappers=["reporting:Doubler"]) as env:
        assert env.doubled() == 2
        env.unwrapped.factor = 5
        assert env.doubled() == 5
        assert env._max_episode_steps == REGISTERED_STEPS
        assert episode_steps(env) == REGISTERED_STEPS


# -- attributes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", OLD_AND_NEW)
def test_attributes_of_the_simulator(target: str) -> None:
    with reporting(target) as env:
        assert env.unwrapped is env
        assert np.array_equal(env.goal, np.arange(3))
        assert np.array_equal(env.get_wrapper_attr("goal"), np.arange(3))
        env.unwrapped.goal = "elsewhere"
        assert env.goal == "elsewhere"
        assert "goal" not in vars(env)
        assert env.set_wrapper_attr("goal", 1)
        assert env.goal == 1
        assert env.set_wrapper_attr("brand_new", (1, "x"))
        assert env.brand_new == (1, "x")
        assert not env.set_wrapper_attr("nowhere", 1, force=False)
        assert (env.has_wrapper_attr("goal"), env.has_wrapper_attr("nowhere")) == (True, False)
        assert not hasattr(env, "nowhere")
        with pytest.raises(errors.EnvAttributeError, match="nowhere"):
            env.get_wrapper_attr("nowhere")
        with pytest.raises(RuntimeError, match="a property that fails"):
            env.broken
        assert [env.reads, env.get_wrapper_attr("reads")] == [1, 2]  # each read computes a property once


def test_private_names_stay_the_simulators_own() -> None:
    """They are read where they are asked for by name, and never as attributes."""
    with reporting() as env:
        assert env.has_wrapper_attr("_secret")
        assert env.get_wrapper_attr("_secret") == 1
        assert not hasattr(env, "_secret")
        with pytest.raises(AttributeError):
            env.call("_nothing")
        with pytest.raises(AttributeError, match="private to the simulator"):
            env._mine = 3
        assert not hasattr(env, "seed")  # check_env would take it to mean the API before gym 0.26


@pytest.mark.parametrize("target", OLD_AND_NEW)
def test_methods_of_the_simulator(target: str) -> None:
    with reporting(target) as env:
        assert type(env.add) is RemoteMethod
        assert env.add(1, other=2) == env.call("add", 1, other=2) == env.unwrapped.add(1, 2) == 3
        with pytest.raises(LookupError, match="nothing here"):
            env.fail()
        with pytest.raises(AttributeError, match="no_method"):
            env.call("no_method")
        with pytest.raises(TypeError):
            env.call("goal")


@pytest.mark.parametrize("target", OLD_AND_NEW)
def test_a_function_by_its_name(target: str) -> None:
    with reporting(target) as env:
        name, minimum, count = env.call("reporting:count_modules", "numpy", minimum=1)
        assert (name, minimum) == ("ReportingEnv", 1)
        assert count > 10
        with pytest.raises(errors.EnvModuleNotFoundError, match="no_such_module"):
            env.call("no_such_module:function")
        with pytest.raises(errors.EnvAttributeError, match="no_such_function"):
            env.call("reporting:no_such_function")


def test_a_callable_travels_between_equal_pythons() -> None:
    here = "of the client"

    def with_mark(env: Any) -> Any:
        env.unwrapped.mark = here
        return env

    with reporting(SAME_PYTHON, wrappers=[with_mark]) as env:
        assert env.mark == here
        assert env.call(lambda env, one, other: [env.unwrapped.goal.sum(), one, other, here], 1, other=2) == [
            3,
            1,
            2,
            here,
        ]
        with pytest.raises(ZeroDivisionError):
            env.call(lambda env: 1 / 0)
        assert env.add(1) == 1


def test_a_callable_that_needs_a_module_of_the_client_says_so() -> None:
    """cloudpickle pickles what this process can import by its name."""
    with reporting(SAME_PYTHON) as env:
        with pytest.raises(errors.CannotCross, match="No module named") as caught:
            env.call(is_running)
        assert caught.value.path == "$.function"
        assert "pythonpath" in str(caught.value)
        assert env.add(1) == 1
    with pytest.raises(errors.CannotCross, match="No module named"), reporting(SAME_PYTHON, wrappers=[is_running]):
        pass


def test_a_callable_does_not_travel_between_unequal_pythons() -> None:
    with reporting(ANOTHER_PYTHON) as env:
        with pytest.raises(errors.CannotCross, match="byte code of Python") as caught:
            env.call(lambda env: 1)
        assert caught.value.path == "$.function"
        assert "'package.module:function'" in str(caught.value)
        assert env.add(1) == 1
    with (
        pytest.raises(errors.CannotCross, match="byte code of Python"),
        reporting(ANOTHER_PYTHON, wrappers=[is_running]),
    ):
        pass


def test_the_server_is_told_apart_in_its_repr() -> None:
    with reporting() as env:
        assert "ReportingEnv" in repr(env)
        assert TARGETS[TARGET].version in repr(env)
    assert gym_service.RemoteEnv is RemoteEnv
