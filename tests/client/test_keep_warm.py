"""Fork servers that outlive their program: the next one does not import, and never gets an old image."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gym_service_launcher.standalone import fd_passing, warm_connection
from support import polling, procfs
from support.paths import ENVS
from support.programs import Programs, programs
from support.targets import TARGETS

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Each program takes a second, so most tests are run by hand.
LONG = pytest.mark.long
# The usual target of these tests: its imports take little time.
OLD = "py38-gym021"
TARGET = "py312-gymnasium14"
# Long enough that nothing ends by its time during a test.
LONG_S = 600
# How long the end of what is no longer needed may take on a loaded machine.
SOON_S = 10.0

OPEN = """
import gym_service
keys = {keys!r}
warnings.showwarning = lambda message, *rest: say("warning:", message)
with_env = lambda: gym_service.make("Counted", **keys)
"""
PLAY = """
env = with_env()
env.reset(seed=0)
say(env.target["pid"])
"""
ONCE = (
    PLAY
    + """
env.close()
"""
)
UNTIL_TOLD = (
    PLAY
    + """
hear()
say(env.step(0)[1])
env.close()
"""
)


@pytest.fixture
def group() -> Iterator[Programs]:
    with programs() as group:
        group.variables["COUNTED_IN"] = str(group.folder / "imports")
        (group.folder / "imports").touch()
        yield group


def keys(target: str = OLD, **given: Any) -> dict[str, Any]:
    usual = {"entry_point": "counted:CountedEnv", "pythonpath": [str(ENVS)], "keep_warm_s": LONG_S}
    return {"python": str(TARGETS[target].python()), **usual, **given}


def opening(**given: Any) -> str:
    return OPEN.format(keys=keys(**given))


def importers(group: Programs) -> list[int]:
    """The pids of the processes that have imported it."""
    return [int(line) for line in (group.folder / "imports").read_text().split()]


def warm(group: Programs) -> list[dict[str, Any]]:
    """The warm fork servers that ``ps`` lists."""
    listed: list[dict[str, Any]] = json.loads(group.command("ps", "--json"))
    return [server for server in listed if server["env"].startswith("warm:")]


def sockets(group: Programs) -> list[Path]:
    return [path for path in group.files() if path.suffix == ".sock"]


def stop(group: Programs) -> None:
    """End what is warm. Nothing is left then."""
    group.command("stop", "--warm")
    group.assert_nothing_is_left(SOON_S)


# -- the next program ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [pytest.param("py36-gym021", marks=LONG), OLD, pytest.param(TARGET, marks=LONG)])
def test_the_next_program_imports_nothing(group: Programs, target: str) -> None:
    pids = [group.run(opening(target=target) + ONCE) for _ in range(3)]
    assert [len(lines) for lines in pids] == [1, 1, 1], pids
    assert len({pid for (pid,) in pids}) == 3
    (importer,) = importers(group)
    (shown,) = warm(group)
    assert (shown["pid"], shown["state"], shown["client_pid"]) == (importer, "warm", None)
    # Its output is kept, and reached the program that ordered it.
    assert group.command("logs", "warm:Counted") == "imported\n"
    stop(group)
    assert not procfs.state(importer)


@LONG
def test_a_forked_server_is_like_one_that_was_started(group: Programs) -> None:
    text = """
    import json
    state = env.call("state")
    del state["pid"]
    state["environ"] = sorted(state["environ"].items())
    say(json.dumps(state, default=repr))
    """.replace("\n    ", "\n")
    prefork = keys()
    del prefork["keep_warm_s"]
    expected = json.loads(group.run(OPEN.format(keys=prefork) + PLAY + text + "env.close()")[1])
    for _ in range(2):
        assert json.loads(group.run(opening() + PLAY + text + "env.close()")[1]) == expected
    assert len(importers(group)) == 2
    stop(group)


@pytest.mark.skipif(int(gymnasium.__version__.partition(".")[0]) < 1, reason="vector envs need gymnasium 1.0")
@LONG
def test_the_workers_of_a_vector_env_are_forked_from_it_too(group: Programs) -> None:
    vector = """
    vec = gym_service.make_vec("Counted", 4, workers=4, **keys)
    vec.reset(seed=0)
    say(len({state["pid"] for state in vec.call("state")}))
    vec.close()
    """.replace("\n    ", "\n")
    group.run(opening() + ONCE)
    assert group.run(opening() + vector) == ["4"]
    assert len(importers(group)) == 1
    stop(group)


@LONG
def test_servers_of_a_listener_are_forked_from_it_too(group: Programs, tmp_path: Path) -> None:
    given = {"entry_point": None, "id": "Counted-v0", "imports": ["counted_ids"]}
    group.run(opening(**given) + ONCE)
    words = ["run", "--python", str(keys()["python"]), "--pythonpath", str(ENVS), "--unix", str(tmp_path / "s")]
    argv = [sys.executable, "-m", "gym_service", *words, "--keep-warm", str(LONG_S), "counted_ids:Counted-v0"]
    client = OPEN.format(keys={"address": f"unix://{tmp_path / 's'}", "id": "Counted-v0"}) + ONCE
    with subprocess.Popen(argv, env=group.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout
            assert run.stdout.readline() == f"unix://{tmp_path / 's'}\n"
            servers = [group.run(client) for _ in range(2)]
            assert len(importers(group)) == 1
            # After a change one server imports for itself, while the next fork server does.
            group.command("stop", "--warm")
            servers += [group.run(client)]
            polling.until(lambda: len(importers(group)) == 3, "the imports of both")
            polling.until(lambda: [one["state"] for one in warm(group)] == ["warm"], "the next fork server")
            servers += [group.run(client)]
            assert len(importers(group)) == 3
            assert len({pid for (pid,) in servers}) == 4
        finally:
            run.send_signal(signal.SIGINT)
            run.communicate()
    stop(group)


@LONG
def test_a_restart_is_forked_from_it(group: Programs) -> None:
    restart = """
    import signal
    env = with_env()
    for _ in range(2):
        os.kill(env.target["pid"], signal.SIGKILL)
        try:
            env.step(0)
        except gym_service.errors.ServerCrashed as error:
            say(error.exit_code, "fork server" in str(error))
        env.reset()
    env.close()
    """.replace("\n    ", "\n")
    assert group.run(opening(restart="on-reset") + restart) == ["-9 False"] * 2
    assert len(importers(group)) == 1
    stop(group)


def test_programs_that_start_at_once_share_one(group: Programs) -> None:
    started = [group.start(opening() + UNTIL_TOLD) for _ in range(4)]
    servers = [program.says() for program in started]
    assert len(set(servers)) == 4
    assert len(importers(group)) == 1
    for program in started:
        program.hears()
    for program in started:
        assert (program.end(), program.lines(), program.errors()) == (0, ["0.0"], "")
    assert len(sockets(group)) == 1
    stop(group)


# -- who shares ------------------------------------------------------------------------------------------------------


def test_variables_of_a_terminal_are_each_programs_own(group: Programs) -> None:
    show = 'say(*(env.call("state")["environ"].get(name) for name in ("TERM", "SSH_TTY", "OLDPWD")))\n'
    text = opening() + PLAY + show + "env.close()"
    first = group.run(text, TERM="one", SSH_TTY="/dev/pts/1", OLDPWD="/")
    second = group.run(text, TERM="two", WINDOWID="7", SHLVL="3", XDG_SESSION_ID="5")
    assert [first[1], second[1]] == ["one /dev/pts/1 /", f"two {os.environ.get('SSH_TTY')} {os.environ.get('OLDPWD')}"]
    assert len(importers(group)) == 1
    stop(group)


@LONG
def test_what_else_a_program_starts_with_decides_who_shares(group: Programs, tmp_path: Path) -> None:
    def lower_limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))

    show = """
    state = env.call("state")
    say(state["cwd"], state["environ"].get("OTHER"))
    with open("/proc/%d/limits" % env.target["pid"]) as file:
        say(next(line.split()[3] for line in file if line.startswith("Max open files")))
    with open("/proc/%d/status" % env.target["pid"]) as file:
        say(next(line.split()[1] for line in file if line.startswith("Umask")))
    env.close()
    """.replace("\n    ", "\n")
    text = opening() + PLAY + show
    here = group.run(text)[1:]
    cases: list[tuple[int, Any, dict[str, str], str]] = [
        (1, lambda: os.chdir(tmp_path), {}, str(tmp_path)),
        (1, None, {"OTHER": "yes"}, "yes"),
        (2, lower_limit, {}, "1000"),
        (3, lambda: os.umask(0o027), {}, "0027"),
    ]
    for count, (line, prepare, variables, expected) in enumerate(cases, 2):
        found = group.run(text, prepare, **variables)
        assert expected in found[line]
        assert found[1:] != here
        assert len(importers(group)) == count
    assert len(sockets(group)) == len(warm(group)) == 5
    stop(group)


@LONG
def test_a_folder_that_was_made_again_is_another_one(group: Programs, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for count in (1, 2):
        folder.mkdir()
        text = opening() + PLAY + 'say(env.call("state")["cwd"])\nenv.close()'
        assert group.run(text, lambda: os.chdir(folder))[1] == str(folder)
        assert len(importers(group)) == count
        shutil.move(folder, tmp_path / "moved")
    stop(group)


# -- an image is never old -------------------------------------------------------------------------------------------

SIMULATOR = """
import os, time
from counted import *
{more}
VALUE = {value}
class Env(CountedEnv):
    def value(self):
        return VALUE
"""
SAY_VALUE = """
env = with_env()
say(env.call("value"))
env.close()
"""


def write_simulator(path: Path, value: int, more: str = "") -> None:
    path.write_text(SIMULATOR.format(value=value, more=more))


def simulator(folder: Path, **given: Any) -> str:
    return opening(entry_point="edited:Env", pythonpath=[str(folder), str(ENVS)], **given)


def test_an_edited_module(group: Programs, tmp_path: Path) -> None:
    write_simulator(tmp_path / "edited.py", 1)
    text = simulator(tmp_path)
    assert group.run(text + SAY_VALUE) == ["1"]
    old = group.start(text + PLAY + "hear()\nsay(env.call('value'))\nenv.close()")
    old.says()
    (first,) = importers(group)
    write_simulator(tmp_path / "edited.py", 2)
    assert group.run(text + SAY_VALUE) == ["2"]
    polling.until_dead([first], SOON_S)
    # The program that has an env of the old one keeps it.
    old.hears()
    assert (old.end(), old.lines()) == (0, ["1"])
    assert group.run(text + SAY_VALUE) == ["2"]
    assert len(importers(group)) == len(sockets(group)) + 1 == 2
    # As large as before, and with the modification time of before, but another file.
    times = (tmp_path / "edited.py").stat().st_mtime_ns
    write_simulator(tmp_path / "new.py", 3)
    os.utime(tmp_path / "new.py", ns=(times, times))
    (tmp_path / "new.py").replace(tmp_path / "edited.py")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)  # by time and size, Python would find the old byte code
    assert group.run(text + SAY_VALUE) == ["3"]
    stop(group)


@LONG
def test_a_module_that_is_edited_while_it_is_imported(group: Programs, tmp_path: Path) -> None:
    gate = 'while not os.path.exists(os.environ["GATE"]): time.sleep(0.01)'
    write_simulator(tmp_path / "edited.py", 1, gate)
    text = simulator(tmp_path)
    program = group.start(text + SAY_VALUE, GATE=str(tmp_path / "open"))
    polling.until(lambda: importers(group), "the import")
    write_simulator(tmp_path / "edited.py", 2, gate)
    (tmp_path / "open").touch()
    assert program.end() == 0
    told, value = program.lines()
    where = f"{tmp_path / 'edited.py'} changed while it was imported"
    assert told == f"warning: 'Counted' was started without prefork: {where}"
    assert value == "2"
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_a_module_that_is_hidden_while_it_is_imported(group: Programs, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    gate = 'while not os.path.exists(os.environ["GATE"]): time.sleep(0.01)'
    write_simulator(tmp_path / "second/edited.py", 1, gate)
    folders = [str(tmp_path / "first"), str(tmp_path / "second"), str(ENVS)]
    text = opening(entry_point="edited:Env", pythonpath=folders)
    program = group.start(text + SAY_VALUE, GATE=str(tmp_path / "open"))
    polling.until(lambda: importers(group), "the import")
    write_simulator(tmp_path / "first/edited.py", 2, gate)
    (tmp_path / "open").touch()
    assert program.end() == 0
    assert program.lines()[1:] == ["2"]
    group.assert_nothing_is_left(SOON_S)


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, Path]:
    """A venv, and its site-packages. It sees what the usual target has."""
    python = TARGETS[OLD].python()
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (target_site,) = python.parent.parent.glob("lib/*/site-packages")
    (site / "target.pth").write_text(f"{target_site}\n{ENVS}\n")
    return tmp_path / "venv/bin/python", site


@LONG
def test_an_upgraded_package(group: Programs, installed: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = installed
    text = opening(python=str(python), pythonpath=[], entry_point="edited:Env")
    write_simulator(site / "edited.py", 1)
    (site / "edited-1.0.dist-info").mkdir()
    assert [group.run(text + SAY_VALUE) for _ in range(2)] == [["1"], ["1"]]
    assert len(importers(group)) == 1
    # An installer that keeps the times of an archive.
    os.rename(site / "edited-1.0.dist-info", site / "edited-1.1.dist-info")
    assert group.run(text + SAY_VALUE) == ["1"]
    assert len(importers(group)) == 2
    # An editable install that leads elsewhere from now on.
    (tmp_path / "repo").mkdir()
    write_simulator(tmp_path / "repo/edited.py", 3)
    with (site / "target.pth").open("a") as file:
        file.write(f"import sys; sys.path.insert(0, {str(tmp_path / 'repo')!r})\n")
    assert group.run(text + SAY_VALUE) == ["3"]
    assert len(importers(group)) == 3
    stop(group)


# -- ends ------------------------------------------------------------------------------------------------------------


def test_it_ends_by_its_time_as_the_last_program_says(group: Programs) -> None:
    group.run(opening(keep_warm_s=LONG_S) + ONCE)
    program = group.start(opening(keep_warm_s=1.5) + UNTIL_TOLD)
    program.says()
    (importer,) = importers(group)
    time.sleep(2)  # no synchronisation: while a program uses it, it must not end
    assert procfs.state(importer)
    program.hears()
    assert program.end() == 0
    begun = time.monotonic()
    assert procfs.state(importer)
    group.assert_nothing_is_left(SOON_S)
    assert time.monotonic() - begun > 1


@LONG
def test_programs_that_come_when_its_time_is_over(group: Programs) -> None:
    text = opening(keep_warm_s=0.01) + ONCE
    for _ in range(6):
        (pid,) = group.run(text)
        assert int(pid) not in importers(group)
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_it_ends_when_memory_runs_short_but_not_while_it_is_used(group: Programs) -> None:
    short = "from gym_service_launcher.servers import warm\nwarm.LEAST_MEMORY_SHARE = 2.0\n"
    program = group.start(short + opening() + UNTIL_TOLD)
    program.says()
    program.hears()
    assert (program.end(), program.lines()) == (0, ["0.0"])
    group.assert_nothing_is_left(SOON_S)


@pytest.mark.parametrize("state", [pytest.param("", marks=LONG), "stopped"])
def test_a_client_killed(group: Programs, state: str) -> None:
    program, other = (group.start(opening() + UNTIL_TOLD) for _ in range(2))
    server = int(program.says())
    other.says()
    if state:
        os.kill(server, signal.SIGSTOP)
        polling.until_state(server, "T")
    # Its guardian learns everything at once: the end of the process, of its connection and of its lifelines.
    guardian = procfs.parent(importers(group)[0])
    os.kill(guardian, signal.SIGSTOP)
    polling.until_state(guardian, "T")
    program.kill()
    os.kill(guardian, signal.SIGCONT)
    polling.until_dead([server], SOON_S)
    (later,) = group.run(opening() + ONCE)
    assert int(later) not in importers(group)
    assert len(importers(group)) == 1
    other.hears()
    assert (other.end(), other.lines()) == (0, ["0.0"])
    assert [path.suffix for path in sorted(group.files())].count(".server") == 1
    stop(group)


@LONG
def test_a_client_killed_that_a_forked_child_survives(group: Programs) -> None:
    fork = """
    if os.fork() == 0:
        time.sleep(600)
    hear()
    """.replace("\n    ", "\n")
    program = group.start(opening() + PLAY + fork)
    server = int(program.says())
    program.kill()
    polling.until_dead([server], SOON_S)
    group.command("stop", "--warm")
    for pid in group.family():
        os.kill(pid, signal.SIGKILL)


@LONG
def test_a_client_killed_while_it_imports(group: Programs) -> None:
    variables = {"COUNTED": "hang"}
    first = group.start(opening() + ONCE, **variables)
    polling.until(lambda: importers(group), "the import")
    second = group.start(opening() + ONCE, **variables)
    first.kill()
    polling.until(lambda: len(importers(group)) == 2, "the import of the next")
    second.kill()
    group.assert_nothing_is_left(SOON_S)


def test_killed_while_nobody_uses_it(group: Programs) -> None:
    group.run(opening() + ONCE)
    os.kill(importers(group)[0], signal.SIGKILL)
    group.assert_nothing_is_left(SOON_S)
    group.run(opening() + ONCE)
    assert len(importers(group)) == 2
    stop(group)


@LONG
def test_killed_while_servers_live_and_stopped_while_one_is_asked_for(group: Programs) -> None:
    program = group.start(opening() + UNTIL_TOLD)
    program.says()
    (importer,) = importers(group)
    os.kill(importer, signal.SIGSTOP)
    polling.until_state(importer, "T")
    # Killed while it is asked for a server: the program orders another.
    waiting = group.start(opening() + "say('asks')\n" + ONCE)
    assert waiting.says() == "asks"
    polling.until(lambda: procfs.state(waiting.pid) == "S", "its wait")
    os.kill(importer, signal.SIGKILL)
    assert (waiting.end(), waiting.errors()) == (0, "")
    assert not re.search("warning", " ".join(waiting.lines()))
    assert len(importers(group)) == 2
    program.hears()
    assert (program.end(), program.lines()) == (0, ["0.0"])
    stop(group)


@LONG
def test_stopped(group: Programs) -> None:
    group.run(opening() + ONCE)
    (importer,) = importers(group)
    os.kill(importer, signal.SIGSTOP)
    polling.until_state(importer, "T")
    (pid,) = group.run(opening() + ONCE)
    assert not procfs.state(importer)  # it was killed, and another one has taken its place
    assert len(importers(group)) == 2
    assert int(pid) not in importers(group)
    stop(group)


@LONG
def test_its_guardian_killed(group: Programs) -> None:
    crash = """
    try:
        env.step(0)
    except gym_service.errors.ServerCrashed as error:
        say(error.exit_code, "guardian of its warm fork server" in str(error))
    """.replace("\n    ", "\n")
    program = group.start(opening() + PLAY + "hear()" + crash)
    server = int(program.says())
    (importer,) = importers(group)
    os.kill(procfs.parent(importer), signal.SIGKILL)
    polling.until_dead([importer, server], SOON_S)
    program.hears()
    assert (program.end(), program.lines()) == (0, ["-9 True"])
    assert len(sockets(group)) == 1  # a stale one
    group.run(opening() + ONCE)
    assert len(importers(group)) == 2
    assert len(sockets(group)) == 1
    stop(group)


# -- what cannot be kept, or not used --------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["thread", "process"])
@LONG
def test_what_a_fork_would_lose(group: Programs, deed: str) -> None:
    for made in (1, 2):
        told, pid = group.run(opening() + ONCE, COUNTED=deed)
        assert told.startswith("warning: 'Counted' was started without prefork: its imports have left ")
        assert int(pid) == importers(group)[2 * made - 1]
    group.assert_nothing_is_left(SOON_S)


@pytest.mark.parametrize("deed", ["fail", "os._exit"])
@LONG
def test_an_import_that_fails_is_the_same_error(group: Programs, deed: str) -> None:
    text = """
    try:
        with_env()
    except gym_service.errors.ServerStartError as error:
        say(ascii(str(error)))
    """.replace("\n    ", "\n")
    usual = keys()
    del usual["keep_warm_s"]
    expected = group.run(OPEN.format(keys=usual) + text, COUNTED=deed)
    assert group.run(opening() + text, COUNTED=deed) == expected
    assert "did not start" in expected[0]
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_an_import_that_is_killed_is_not_tried_again_and_again(group: Programs, tmp_path: Path) -> None:
    """As the kernel kills it where memory is too short."""
    record = "open(os.environ['COUNTED_IN'], 'a').write(str(os.getpid()) + chr(10))"
    (tmp_path / "killed.py").write_text(f"import os\n{record}\nos.kill(os.getpid(), 9)\n")
    text = opening(entry_point="killed:Env", pythonpath=[str(tmp_path)])
    text += """
    try:
        with_env()
    except gym_service.errors.ServerStartError as error:
        say(error.exit_code)
    """.replace("\n    ", "\n")
    started = [group.start(text) for _ in range(2)]
    assert [(program.end(), program.lines()) for program in started] == [(0, ["-9"])] * 2
    # Each of them tries once to keep it, and then starts a server in the ordinary way.
    assert len(importers(group)) == 4
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_an_import_that_hangs_ends_at_its_timeout(group: Programs) -> None:
    text = """
    try:
        with_env()
    except gym_service.errors.ServerStartError as error:
        say(error)
    """.replace("\n    ", "\n")
    lines = group.run(opening(timeouts={"start": 10}) + text, COUNTED="hang")
    assert (
        lines[0]
        == "the server of 'Counted' did not start: it was not up after 10 s (blocked); its Python code was here:"
    )
    assert "    still here" in lines
    group.assert_nothing_is_left(SOON_S)


def as_another_user(text: str, path: Path) -> subprocess.Popen[str]:
    """A process of another user that has a Unix socket, ``sock``, and the path as an argument."""
    # It may not execute this interpreter, so it becomes the other user after that.
    begin = "import os, socket, sys; sock = socket.socket(socket.AF_UNIX); os.setuid(65534); "
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", begin + text, str(path)], stdin=pipe, stdout=pipe, text=True)


@LONG
def test_a_socket_of_another_user(group: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    group.run(opening() + ONCE)
    stop_at = sockets(group)[0]
    stop(group)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(stop_at))
        os.chown(stop_at, 65534, 65534)
    told, _ = group.run(opening() + ONCE)
    assert told == f"warning: 'Counted' is not kept warm: {stop_at} is the socket of user 65534"
    stop_at.unlink()
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_a_server_of_another_user_is_no_server(group: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    group.run(opening() + ONCE)
    path = sockets(group)[0]
    stop(group)
    for folder in path.parents[1:4]:
        folder.chmod(0o755)
    path.parent.chmod(0o777)
    other = as_another_user("sock.bind(sys.argv[1]); sock.listen(); print(flush=True); sys.stdin.read()", path)
    try:
        assert other.stdout
        assert other.stdout.readline() == "\n"
        path.parent.chmod(0o700)
        told, _ = group.run(opening() + ONCE)
        assert "is not kept warm: that server belongs to user 65534" in told
    finally:
        other.communicate()
    path.unlink()
    group.assert_nothing_is_left(SOON_S)


def test_another_user_is_not_served(group: Programs) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    group.run(opening() + ONCE)
    path = sockets(group)[0]
    # The folder and the socket keep others out; without them its guardian still does.
    path.chmod(0o666)
    for folder in path.parents[:4]:
        folder.chmod(0o755)
    asking = "sock.connect(sys.argv[1]); sock.settimeout(10); print(sock.recv(64))"
    assert as_another_user(asking, path).communicate()[0] == "b''\n"
    group.run(opening() + ONCE)
    assert len(importers(group)) == 1
    stop(group)


@LONG
def test_a_client_that_breaks_the_rules(group: Programs) -> None:
    program = group.start(opening() + UNTIL_TOLD)
    program.says()
    frame = warm_connection.FRAME.pack
    with open(os.devnull, "rb") as file:
        null = file.fileno()
        cases: list[tuple[bytes, list[int]]] = [
            (b"GET / HTTP/1.1\r\n\r\n", []),
            (frame(warm_connection.ASK, 0, 1) + b"5", []),
            (frame(warm_connection.ASK, 1, 3) + b"inf", [null]),
            (frame(warm_connection.ASK, 1, 3) + b"one", [null]),
            (frame(warm_connection.ASK, 3, 1) + b"5", [null]),
            (frame(warm_connection.ORDER, 4, 2) + b"0\0", [null] * 4),
            (frame(warm_connection.ASK, 1, 1) + b"5" + frame(warm_connection.ORDER, 0, 0), [null]),
            (frame(warm_connection.REQUEST, 0, 2**32 - 1), []),
        ]
        for data, fds in cases:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(sockets(group)[0]))
                fd_passing.send(sock, data, fds)
                sock.settimeout(SOON_S)
                said = b""
                with contextlib.suppress(ConnectionResetError):
                    while more := sock.recv(64):
                        said += more
                assert re.fullmatch(rb"(here \d+\nready \d+\n)?", said)
    program.hears()
    assert (program.end(), program.lines()) == (0, ["0.0"])
    group.run(opening() + ONCE)
    assert len(importers(group)) == 1
    stop(group)


@pytest.mark.parametrize(
    ("folder", "why"),
    [("/tmp/" + 120 * "x", "is longer than 107 bytes"), ("/dev/null", "cannot be bound: Not a directory")],
)
@LONG
def test_a_runtime_folder_that_cannot_be_used(group: Programs, folder: str, why: str) -> None:
    told, _ = group.run(opening() + ONCE, XDG_RUNTIME_DIR=folder)
    assert told.startswith(f"warning: 'Counted' is not kept warm: {folder}/gym-service/warm-")
    assert why in told
    group.assert_nothing_is_left(SOON_S)


@LONG
def test_a_file_in_the_place_of_the_socket(group: Programs) -> None:
    group.run(opening() + ONCE)
    path = sockets(group)[0]
    stop(group)
    path.write_text("something else")
    told, _ = group.run(opening() + ONCE)
    assert told == f"warning: 'Counted' is not kept warm: {path} exists and is not a socket"
    assert path.read_text() == "something else"
    path.unlink()
    group.assert_nothing_is_left(SOON_S)
