"""The command gym-service, as a user or a script runs it."""

import json
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gym_service_launcher.servers.stream import Opening, PipeEnds
from support.serving import COMMAND, TIMEOUT_S, running

import gym_service
from gym_service.cli.run import DEFAULT_MARK
from gym_service.client.connection import Connection, one
from gym_service.client.env import RemoteEnv
from gym_service.client.requests import encode
from gym_service.errors import ConnectionLost
from gym_service.protocol import messages
from gym_service.transport import channel

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

RECIPE = {
    "id": "CartPole-v1",
    "entry_point": None,
    "imports": [],
    "kwargs": {"render_mode": "rgb_array"},
    "api": None,
    "max_episode_steps": None,
    "wrappers": [],
}


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [*COMMAND, *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def in_terminal(argv: Sequence[str]) -> tuple[int, str]:
    """Run a command in its own terminal. Returns its exit code and output."""
    main, theirs = pty.openpty()
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}) as ran:
        os.close(theirs)
        written = b""
        try:
            while data := os.read(main, 4096):
                written += data
        except OSError:
            pass  # Linux reports EIO at the end of a terminal
        finally:
            os.close(main)
    return ran.returncode, written.decode()


# -- the command itself ----------------------------------------------------------------------------------------------


def test_help_and_version() -> None:
    shown = run("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "gym-service run --venv ./sim_env --tcp 127.0.0.1:2333" in shown.stdout
    assert DEFAULT_MARK in run("run", "--help").stdout
    assert run("--version").stdout == f"gym-service {gym_service.__version__}\n"
    script = Path(sys.executable).with_name("gym-service")
    if script.exists():
        assert subprocess.check_output([script, "--version"], text=True) == run("--version").stdout


def test_help_waits_for_nothing_heavy() -> None:
    program = (
        "import sys, json; from gym_service.cli.main import main\ntry: main(['--help'])\n"
        "except SystemExit: print(json.dumps(list(sys.modules)))"
    )
    shown = subprocess.check_output([sys.executable, "-c", program], text=True)
    loaded = {name.partition(".")[0] for name in json.loads(shown.splitlines()[-1])}
    assert loaded.isdisjoint({"rich", "numpy", "gymnasium", "subprocess", "ssl"})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "a command is missing"),
        (("run", "--stdio"), "one of the arguments --venv --python is required"),
        (("run", "--venv", "x", "--stdio", "--unix", "y"), "not allowed with"),
        (("run", "--venv", "x", "--python", "3.10", "--stdio"), "not allowed with"),
        (("run", "--venv", "x", "--tcp", "2333"), "'2333' is not HOST:PORT"),
        (("run", "--venv", "x", "--tcp", "localhost:65536"), "is not HOST:PORT"),
        (("run", "--venv", "x", "--stdio", "--mark", "abc"), "'abc' is not a marker"),
        (("run", "--venv", "x", "--stdio", "--mark", "00" * 7), "is not a marker"),
        (("run", "--venv", "x", "--tcp", "localhost:0", "--mark", "00" * 8), "--mark needs --stdio"),
        (("run", "--venv", "/no/where", "--tcp", "localhost:0"), "/no/where does not exist"),
        (("run", "--python", sys.executable, "--tcp", "0.0.0.0:0"), "the connection would not be encrypted"),
        (("run", "--venv", "x", "--token-file", "t"), "--token-file needs --tcp"),
        (("run", "--venv", "x", "--tcp", "localhost:0", "--tls-key", "k"), "--tls-key needs --tls-cert"),
        (("run", "--venv", "x", "--insecure"), "--insecure needs --tcp"),
        (("run", "--venv", "x", "--stdio", "--max-clients", "2"), "--max-clients has no effect with --stdio"),
        (("run", "--venv", "x", "--max-clients", "0"), "'0' is not a number of clients"),
        (("run", "--venv", "x", "--idle-timeout", "-1"), "'-1' is not a number of seconds"),
        (("run", "--venv", "x", "--tcp", "localhost:0", "--token-fd", "99"), "'99' is not an open file descriptor"),
        (("list", "--envs", "/no/where"), "/no/where: cannot be read: No such file or directory"),
    ],
)
def test_mistakes_are_a_sentence_and_exit_code_2(arguments: Sequence[str], reason: str) -> None:
    ran = run(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert reason in ran.stderr
    assert "Traceback" not in ran.stderr


# -- list ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def envs_toml(tmp_path: Path) -> Path:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        nobody = sock.getsockname()[1]
    file = tmp_path / "envs.toml"
    file.write_text(
        f'[envs."Good-v0"]\npython = "{sys.executable}"\n'
        '[envs."Gone-v0"]\npython = "./nowhere"\n'
        '[envs."Typo-v0"]\npyton = "3.10"\n'
        f'[envs."Far-v0"]\naddress = "tcp://127.0.0.1:{nobody}"\n'
        '[envs."Unbuilt-v0"]\npython = "3.10"\nrequires = ["nothing-of-that-name==0"]\n'
        "[interpretrs.x]\n"
    )
    return file


def test_list_says_what_is_found_and_what_is_wrong(envs_toml: Path) -> None:
    ran = run("list", cwd=envs_toml.parent)
    assert (ran.returncode, ran.stderr) == (1, "")
    title, good, gone, advice, typo, far, far_advice, unbuilt, problem = ran.stdout.splitlines()
    assert title == str(envs_toml)
    assert re.fullmatch(
        rf"Good-v0     found      {re.escape(sys.executable)}  Python 3\.\S+, gymnasium \S+, numpy \S+", good
    )
    assert gone == f"Gone-v0     broken     {envs_toml.parent}/nowhere  does not exist"
    assert advice == f"            try: python -m venv {envs_toml.parent}/nowhere"
    assert far_advice.startswith("            try: gym-service run --venv ./sim_env --tcp 127.0.0.1:")
    assert typo == 'Typo-v0     broken     envs."Typo-v0".pyton: unknown key; did you mean "python"?'
    assert re.fullmatch(
        r"Far-v0      broken     tcp://\S+  no server was reached at .*: Connection refused, for 2 s", far
    )
    assert unbuilt == (
        "Unbuilt-v0  not built  Python 3.10 with nothing-of-that-name==0  gym-service sync or gym.make builds it"
    )
    assert problem == f'{envs_toml}: interpretrs: unknown key; did you mean "interpreters"?'


def test_list_of_what_works_is_exit_code_0(tmp_path: Path) -> None:
    with running() as serving:
        file = tmp_path / "envs.toml"
        file.write_text(f'[envs."A-v0"]\npython = "{sys.executable}"\n[envs."B-v0"]\naddress = "{serving.address}"\n')
        ran = run("list", "--envs", file)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[2] == f"B-v0  found      {serving.address}  a server listens"


def test_a_file_without_an_entry_is_not_called_in_order(tmp_path: Path) -> None:
    file = tmp_path / "envs.toml"
    file.write_text('python = "3.10"\n')
    ran = run("check", "--envs", file)
    said = f"\n{file}: python: unknown key; known are envs, interpreters\nthere is no entry\n  try: gym-service add "
    assert (ran.returncode, said in ran.stdout, "in order" in ran.stdout) == (1, True, False)


def test_list_as_json_and_when_an_entry_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "envs.toml"
    file.write_text(
        '[envs.Broken]\npyton = "3.10"\ninterpreter = "used"\n'
        '[interpreters.spare]\npython = "3.10"\n[interpreters.used]\npython = "3.10"\n'
    )
    listed = json.loads(run("list", "--json", "--envs", file).stdout)
    assert listed["entries"][0]["checked"] is None
    assert listed["unused"] == ['[interpreters.spare] is not used: no entry has interpreter = "spare"']
    assert run("check", "--envs", file).returncode == 1
    ran = run("list", "--json", "--envs", file)
    (entry,) = json.loads(ran.stdout)["entries"]
    assert (ran.returncode, entry["state"], entry["checked"]["ok"]) == (1, "broken", False)
    assert "not in order" in run("list", "--envs", file).stdout
    file.write_text(f'[envs.Broken]\npython = "{sys.executable}"\n[interpreters.spare]\npython = "3.10"\n')
    ran = run("list", "--json", "--envs", file)  # the entry has changed in the meantime
    (entry,) = json.loads(ran.stdout)["entries"]
    assert (ran.returncode, entry["state"], entry["checked"]) == (0, "found", None)
    assert json.loads(ran.stdout)["unused"] == ['[interpreters.spare] is not used: no entry has interpreter = "spare"']


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str) -> None:
    pytest.importorskip("shtab")
    ran = run("completion", shell)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert all(word in ran.stdout for word in ("check", "remove", "unused"))


def test_list_in_a_terminal_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "envs.toml"
    file.write_text('[envs."Gone-v0"]\npython = "./[red]nowhere"\n')
    code, written = in_terminal([*COMMAND, "list", "--envs", str(file)])
    assert code == 1
    assert "interpreter" in written
    assert "\x1b[31mbroken" in written
    assert "[red]" in written


def test_list_without_a_file(tmp_path: Path) -> None:
    ran = run("list", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("gym-service: there is no envs.toml in this folder")
    assert f"    {tmp_path}/envs.toml\n" in ran.stderr
    assert ran.stderr.endswith("  try: gym-service init, which writes one, or --envs FILE\n")


# -- run --tcp -------------------------------------------------------------------------------------------------------


def test_run_prints_its_address_and_how_to_use_it() -> None:
    with running() as serving:
        assert re.fullmatch(r"tcp://127\.0\.0\.1:\d+", serving.lines[-1])
        assert serving.port > 0
        line = serving.until(r"gym_service\.make").strip()
        names: dict[str, RemoteEnv] = {}
        exec(line, {"gym_service": gym_service}, names)
        names["env"].reset()
        names["env"].close()
        serving.until(r"^\d\d:\d\d:\d\d tcp://127.0.0.1:\d+ connected: server \d+$")
        serving.until(
            r"^\d\d:\d\d:\d\d tcp://127.0.0.1:\d+ disconnected after \d+\.\d s: "
            r"CartPole-v1, 0 steps, server \d+, exit code 0$"
        )


def test_run_in_a_terminal_until_ctrl_c(tmp_path: Path) -> None:
    main, theirs = pty.openpty()
    argv = [*COMMAND, "run", "--python", sys.executable, "--tcp", "127.0.0.1:0"]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as ran:
        os.close(theirs)
        written = b""
        while b"Ctrl-C stops all servers" not in written:
            written += os.read(main, 4096)
        ran.send_signal(2)
        assert ran.wait(TIMEOUT_S) == 130
        os.close(main)
    assert b'[envs."CartPole-v1"]' in written


def test_run_says_at_once_that_its_interpreter_is_of_no_use(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    ran = run("run", "--venv", "bare", "--tcp", "127.0.0.1:0", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.match(rf"gym-service: {tmp_path}/bare/bin/python \(Python \S+\) has no numpy\n  try: ", ran.stderr)


def test_run_at_a_port_that_is_taken() -> None:
    with running() as serving:
        ran = run("run", "--python", sys.executable, "--tcp", f"127.0.0.1:{serving.port}")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"gym-service: cannot listen at {serving.address}: the address is already in use\n"
        "  try: another port, or 0 for a free one\n"
    )


# -- run --stdio -----------------------------------------------------------------------------------------------------


class Piped:
    """The peer of a connection over the pipes of a process."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.calls = memoryview(bytearray(8)).cast("Q")

    def died(self, during: str) -> ConnectionLost:
        return ConnectionLost(during, during=during, address="")

    def close_in_steps(self, ask_s: float) -> Iterator[None]:
        self.process.wait(TIMEOUT_S)
        return iter(())

    def tail(self) -> str:
        return ""

    def diagnose(self) -> tuple[str, str]:
        return "unknown", ""


@pytest.mark.parametrize(
    ("options", "mark"), [((), DEFAULT_MARK), (("--mark", "00ff" * 8), "00ff" * 8)], ids=["usual", "own"]
)
def test_run_serves_over_its_own_pipes(tmp_path: Path, options: Sequence[str], mark: str) -> None:
    command = shlex.join([*COMMAND, "run", "--python", sys.executable, "--stdio", *options])
    noisy = f"echo Welcome to this machine; printf '\\213\\034'; exec {command}"
    errors = (tmp_path / "stderr").open("wb")
    with errors, subprocess.Popen(["sh", "-c", noisy], stdin=-1, stdout=-1, stderr=errors, bufsize=0) as process:
        assert process.stdin
        assert process.stdout
        fds = os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
        process.stdout.close()
        process.stdin.close()
        assert Opening(bytes.fromhex(mark)).wait(PipeEnds(*fds), time.monotonic() + TIMEOUT_S)
        connection = Connection(channel.over_pipes(*fds), Piped(process))
        env = RemoteEnv(connection, connection.call(messages.MAKE, encode(("$", RECIPE)), TIMEOUT_S, one))
        assert env.target["pid"] == process.pid  # the server has replaced the command by exec
        local = gymnasium.make("CartPole-v1", render_mode="rgb_array")
        assert np.array_equal(env.reset(seed=3)[0], local.reset(seed=3)[0])
        assert np.array_equal(env.render(), local.render())
        local.close()
        env.close()
    assert process.returncode == 0
    assert (tmp_path / "stderr").read_bytes() == b""


def test_a_terminal_is_refused() -> None:
    code, written = in_terminal([*COMMAND, "run", "--python", sys.executable, "--stdio"])
    assert code == 2
    assert "standard input is a terminal" in written
    assert "-t of ssh" in written


# -- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        *("", "list", "sync", "lock", "cache", "cache list", "cache prune"),
        *(
            "export",
            "add",
            "run",
            "token",
            "ps",
            "logs",
            "stop",
            "check",
            "init",
            "remove",
            "ids",
            "schema",
            "completion",
        ),
    ],
)
def test_help_fits_80_columns_and_breaks_no_word(command: str) -> None:
    argv = [*COMMAND, *command.split(), "--help"]
    narrow, wide = (
        subprocess.check_output(argv, env={**os.environ, "COLUMNS": columns}, text=True) for columns in ("80", "1000")
    )
    lines = narrow.splitlines()
    assert max(map(len, lines)) <= 80
    assert max(map(len, wide.splitlines())) <= 80
    assert [line for line in lines if line.endswith("-") and not line.endswith(" -")] == []
    assert [line for line in lines if line and not line.strip()] == []  # a metavar that is empty
    assert re.findall(r"\btcp\b(?!://)", re.sub(r"--tcp\b", "", narrow)) == []


def test_help_of_run_groups_its_options() -> None:
    titles = re.findall(r"^(\w+):$", run("run", "--help").stdout, re.MULTILINE)
    assert titles == ["options", "permissions", "limits", "security", "examples"]
