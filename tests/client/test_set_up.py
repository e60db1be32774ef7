"""How an entry sets its simulator up: activate, conda:NAME, setup and environ, over each transport. Python 3.10."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.opened import opened
from support.paths import ENVS
from support.serving import COMMAND, running
from support.targets import TARGETS

import gym_service
from gym_service.cli import main
from gym_service.cli.run import DEFAULT_MARK
from gym_service.errors import ConfigError, EnvError, ServerStartError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

WAYS: dict[str, dict[str, Any]] = {
    "unix": {},
    "stdio": {"transport": "stdio"},
    "prefork": {"prefork": True},
    "command": {"command": ["env"]},
}
OLD, NEW = "py36-gym021", "py312-gymnasium14"
SCRIPT = """\
echo printed by the script
export SIM_ROOT=/opt/sim ARGUMENTS=$# SECRET=shh
declare -x DECLARED=yes
export PYTHONPATH=/from/the/script LD_LIBRARY_PATH=/opt/sim/lib
read line; export LINE="<$line>"
ulimit -n 333
cd /
"""
ENVIRON = {
    "LD_LIBRARY_PATH": "/mine:$LD_LIBRARY_PATH",
    "HOMES": "~:/x:~/y",
    "PRICE": "$$5 ${NOT_SET_ANYWHERE:-none}",
    "TILDES": "a~ ~b",
    "DEFAULT": "${NOT_SET_ANYWHERE:-$SIM_ROOT/lib $$}",
    "SECRET": False,
    "SDL_VIDEODRIVER": False,
}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An activation script in a folder whose name needs quotes."""
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    path = folder / "setup.sh"
    path.write_text(SCRIPT)
    return path


def made(target: str = NEW, **given: Any) -> Any:
    return opened("SetUp", target=target, entry_point="set_up:SetUpEnv", **given)


@pytest.mark.parametrize(("way", "target"), [*((way, NEW) for way in WAYS), ("unix", OLD), ("command", OLD)])
def test_over_each_way_a_script_is_sourced_and_environ_follows_it(way: str, target: str, script: Path) -> None:
    keys = {"activate": script, "environ": ENVIRON, "setup": ["set_up:prepare"], **WAYS[way]}
    with made(target, **keys) as env:
        assert env.call("variables", "SIM_ROOT", "DECLARED", "ARGUMENTS", "LINE") == ["/opt/sim", "yes", "0", "<>"]
        home = os.environ["HOME"]
        assert env.call("variables", *ENVIRON) == [
            "/mine:/opt/sim/lib",
            f"{home}:/x:{home}/y",
            "$5 none",
            "a~ ~b",
            "/opt/sim/lib $",
            None,
            None,
        ]
        ((python_path, path),) = [env.call("variables", "PYTHONPATH", "PATH")]
        assert python_path.endswith("fixture_envs:/from/the/script")
        assert path.startswith(f"{TARGETS[target].python().parent}:")
        assert not [name for name in env.call("all_variables") if name.startswith("GYM_SERVICE_ACTIVAT")]
        assert env.call("facts") == ["/", 333, [""]]
        assert env.get_wrapper_attr("calls_before") == ["prepare"]


def test_the_folder_that_the_entry_names_follows_the_scripts(script: Path, tmp_path: Path) -> None:
    with made(activate=[script, script], cwd=tmp_path) as env:
        assert env.call("facts")[0] == str(tmp_path)


def test_what_a_script_leaves_running_ends_with_the_server(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text(f"sleep 1000 & echo $! > {tmp_path}/pid\n")
    with made(activate=tmp_path / "setup.sh") as env:
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, 0)
        env.reset()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_a_script_that_exits_is_a_failed_start_that_shows_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text("echo no licence here >&2\nexit 3\n")
    for way in WAYS.values():
        with (
            pytest.raises(ServerStartError, match="no licence here") as failed,
            made(activate=tmp_path / "setup.sh", **way),
        ):
            pass
        assert failed.value.exit_code == 3
        first, *_, last = str(failed.value).splitlines()
        assert first == "the server of 'SetUp' did not start: an activation script ended the shell: exit code 3"
        assert last.startswith("  try: look at the scripts of activate")
        if "command" not in way:
            assert f"command: . {tmp_path}/setup.sh; {TARGETS[NEW].python()} -u " in str(failed.value)


def test_an_interpreter_that_does_not_run_after_the_scripts_shows_what_the_shell_said(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text("echo hello\n")
    python = tmp_path / "python"
    python.write_text("#!/nowhere/python\n")
    python.chmod(0o755)
    said = rf"did not start: there was no answer from {python} after its activation: exit code 12[67], .*{python}: "
    with pytest.raises(ServerStartError, match=said), made(activate=tmp_path / "setup.sh", python=python):
        pass


def test_a_function_named_exec_does_not_keep_the_target_from_starting(tmp_path: Path) -> None:
    (tmp_path / "setup.sh").write_text("exec() { echo overridden; }\nexport SIM_ROOT=/opt/sim\n")
    with made(activate=tmp_path / "setup.sh") as env:
        assert env.call("variables", "SIM_ROOT") == ["/opt/sim"]


def test_without_bash_another_shell_sources_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(os.path.realpath("/bin/sh"))
    monkeypatch.setenv("PATH", str(folder))
    (tmp_path / "setup.sh").write_text("export SIM_ROOT=/opt/sim ARGUMENTS=$#\nulimit -n 333\n")
    with made(activate=tmp_path / "setup.sh", environ={"OWN": "$SIM_ROOT"}) as env:
        assert env.call("variables", "OWN", "ARGUMENTS") == ["/opt/sim", "0"]
        assert env.call("facts")[1] == 333
    (folder / "sh").unlink()
    with pytest.raises(ConfigError, match="activate: there is no shell"), made(activate=tmp_path / "setup.sh"):
        pass


def test_a_missing_script_and_a_variable_that_is_not_set_say_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone.sh"
    for way in WAYS.values():
        error: type[Exception] = ServerStartError if "command" in way else ConfigError
        with pytest.raises(error, match=str(gone)), made(activate=gone, **way):
            pass
        for text, reason in (("$NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"), ("a$", r"\$\$ for a dollar")):
            with pytest.raises(error, match=rf"X: .*{reason}"), made(environ={"X": text}, **way):
                pass


def test_a_variable_that_no_script_has_set_says_so_too(script: Path) -> None:
    reason = r"did not start: environ\.X: the variable NOT_SET_ANYWHERE is not set"
    for way in WAYS.values():
        with (
            pytest.raises(ServerStartError, match=reason) as failed,
            made(activate=script, environ={"X": "$NOT_SET_ANYWHERE"}, **way),
        ):
            pass
        assert str(failed.value).splitlines()[-1].startswith("  try: correct this value of environ")


def test_what_setup_raises_is_the_simulators_error() -> None:
    for way in WAYS.values():
        with pytest.raises(EnvError, match="this machine has no licence"), made(setup=["set_up:fail"], **way):
            pass


def conda_shaped(root: Path, name: str) -> Path:
    """A folder that conda takes for an env of that name, with its packages' variables and scripts."""
    prefix = root / "envs" / name
    for folder in ("bin", "conda-meta", "etc/conda/activate.d", "etc/conda/deactivate.d", "etc/conda/env_vars.d"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "bin/python").write_text(f'#!/bin/sh\nexec {TARGETS[NEW].python()} "$@"\n')
    (prefix / "bin/python").chmod(0o755)
    state = {"version": 1, "env_vars": {"FROM_STATE": f"state of {name}", "GONE": "***unset***"}}
    (prefix / "conda-meta/state").write_text(json.dumps(state))
    variables = {"FROM_PACKAGE": "a package's", "FROM_STATE": "overridden"}
    (prefix / "etc/conda/env_vars.d/package.json").write_text(json.dumps(variables))
    (prefix / "etc/conda/activate.d/a.sh").write_text('export SEEN="$FROM_STATE in $CONDA_PREFIX"\n')
    (prefix / "etc/conda/activate.d/b.sh").write_text('export SEEN="$SEEN, twice"\n')
    (prefix / "etc/conda/deactivate.d/a.sh").write_text(f"export LEFT={name} SEEN=\n")
    return prefix


@pytest.mark.parametrize("way", ["unix", "stdio", "prefork"])
def test_a_conda_env_is_activated_as_conda_does(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix, other = conda_shaped(tmp_path, "sim"), conda_shaped(tmp_path, "trainer")
    monkeypatch.setenv("CONDA_ENVS_PATH", str(tmp_path / "envs"))
    monkeypatch.setenv("GONE", "set by the client")
    names = ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "CONDA_PREFIX_1", "FROM_STATE", "FROM_PACKAGE", "GONE")
    common = ["state of sim", "a package's", None]
    with made(python="conda:sim", environ={"OWN": "$SEEN"}, **WAYS[way]) as env:
        assert env.call("variables", *names) == [str(prefix), "sim", "1", None, *common]
        assert env.call("variables", "SEEN", "LEFT") == [f"state of sim in {prefix}, twice", None]
        assert env.call("variables", "OWN")[0].endswith("twice")
        assert env.call("variables", "PATH")[0].split(":")[0] == str(prefix / "bin")
    monkeypatch.setenv("CONDA_PREFIX", str(other))
    monkeypatch.setenv("CONDA_SHLVL", "1")
    monkeypatch.setenv("PATH", f"{other}/bin:{os.environ['PATH']}")
    with made(python="conda:sim", **WAYS[way]) as env:
        assert env.call("variables", *names) == [str(prefix), "sim", "2", str(other), *common]
        assert env.call("variables", "SEEN", "LEFT") == [f"state of sim in {prefix}, twice", "trainer"]
        assert f"{other}/bin" not in env.call("variables", "PATH")[0].split(":")


def test_gym_service_run_and_ids_activate_a_conda_env_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prefix = conda_shaped(tmp_path, "sim")
    (prefix / "etc/conda/activate.d/c.sh").write_text(f"export PYTHONPATH={ENVS}\n")
    monkeypatch.setenv("CONDA_ENVS_PATH", str(tmp_path / "envs"))
    with (
        running("conda:sim", "set_up_ids:SetUp-v0") as serving,
        gym_service.make("SetUp-v0", address=serving.address) as env,
    ):
        assert env.call("variables", "CONDA_PREFIX", "SEEN") == [str(prefix), f"state of sim in {prefix}, twice"]
    assert main.main(["ids", "conda:sim", "--import", "set_up_ids"]) == 0
    assert "SetUp-v0" in capfd.readouterr().out
    (prefix / "etc/conda/activate.d/d.sh").write_text("echo $SEEN\n")
    run = [*COMMAND, "run", "--python", "conda:sim", "--stdio"]
    ran = subprocess.run(run, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert ran.stderr.decode() == f"state of sim in {prefix}, twice\n"  # none of it is on the protocol's stream
    assert ran.stdout == bytes.fromhex(DEFAULT_MARK)


def test_a_damaged_file_of_a_conda_env_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = conda_shaped(tmp_path, "sim") / "conda-meta/state"
    state.write_text("{")
    monkeypatch.setenv("CONDA_ENVS_PATH", str(tmp_path / "envs"))
    with pytest.raises(ConfigError, match=str(state)), made(python="conda:sim"):
        pass


def test_a_server_of_somebody_else_calls_no_setup_unless_it_allows_imports() -> None:
    python = str(TARGETS[NEW].python())
    keys = {"setup": ["json:dumps"]}
    with running(python) as serving, pytest.raises(EnvError, match=r"setup = .*not the client's own"):
        gym_service.make("CartPole-v1", address=serving.address, **keys)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="activate: cannot be combined with address"):
        gym_service.make("CartPole-v1", address="unix:///x", activate="setup.sh")
    with running(python, "--allow-import") as serving:
        keys = {"setup": ["os:getpid"]}
        gym_service.make("CartPole-v1", address=serving.address, **keys).close()  # type: ignore[arg-type]
