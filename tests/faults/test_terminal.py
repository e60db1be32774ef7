"""A client with a real terminal: its servers stay in its session, and no signal of the terminal reaches them."""

import os
import pty
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import polling, procfs
from support.clients import assert_nothing_outlives, client
from support.faulty import TRANSPORTS
from support.terminal import tmux

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

CTRL_C = b"\x03"
PLAYING = """
terminal = os.open(os.environ["TERMINAL"], os.O_RDWR)  # from now on it is the terminal of this session
keys = {"transport": os.environ["TRANSPORT"], "prefork": os.environ["PREFORK"] == "yes"}
with faulty(**keys) as env:
    env.reset()
    session, leads, there = env.call("standing")
    say(session == os.getsid(0), leads, there)
    try:
        say("ready")
        while True:
            time.sleep(600)
    except KeyboardInterrupt:
        say("interrupted")
    say(act(env, "step", 3)[1])
    hear()
    say("the end")
    hear()
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    main, theirs = pty.openpty()
    yield main, os.ttyname(theirs)
    os.close(theirs)
    try:
        os.close(main)
    except OSError:
        pass  # the test has hung up


@pytest.mark.parametrize(("transport", "prefork"), [("unix", "no"), ("unix", "yes"), ("stdio", "no")])
def test_ctrl_c_and_the_hang_up_reach_the_client_alone(terminal: tuple[int, str], transport: str, prefork: str) -> None:
    main, name = terminal
    with client(PLAYING, {"TERMINAL": name, "TRANSPORT": transport, "PREFORK": prefork}) as running:
        assert running.says() == "True True ENXIO"
        assert running.says() == "ready"
        polling.until_state(running.pid, "S")
        servers = [pid for pid in running.family() if pid != running.pid]
        os.write(main, CTRL_C)
        assert running.says() == "interrupted"
        assert running.says() == "3.0"
        assert all(procfs.state(pid) for pid in servers)
        os.close(main)  # the kernel sends SIGHUP to the client, which leads the session
        assert running.end() < 0
        assert_nothing_outlives(running, [])


STEPPING = """
import os, sys
sys.path[:0] = os.environ["PATHS"].split(os.pathsep)
from support.faulty import act, faulty
with faulty(transport=sys.argv[1]) as env:
    env.reset()
    print("pids", os.getpid(), env.target["pid"], flush=True)
    number = 0
    while not os.path.exists(sys.argv[2]):
        number += 1
        assert act(env, "step", number)[0]["answers"].tolist() == [number, number, -7 * number]
print("every step was right", flush=True)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_ctrl_z_and_fg_in_a_real_terminal(transport: str, tmp_path: Path) -> None:
    (tmp_path / "stepping.py").write_text(STEPPING)
    end = tmp_path / "end"
    paths = os.pathsep.join(filter(None, sys.path))
    command = shlex.join(["env", f"PATHS={paths}", sys.executable, str(tmp_path / "stepping.py"), transport, str(end)])
    with tmux(tmp_path / "tmux", "bash --norc") as terminal:
        terminal.type(command)
        found = terminal.until(r"^pids (\d+) (\d+)$")
        ours, theirs = int(found[1]), int(found[2])
        for _ in range(3):
            terminal.press("C-z")
            polling.until_state(ours, "T")
            assert procfs.state(theirs) != "T"
            terminal.type("clear; fg")
            polling.until(lambda: procfs.state(ours) != "T", "the client to continue")
        end.touch()
        terminal.until("^every step was right$")
        polling.until_dead([ours, theirs])


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_terminal_that_is_closed_ends_the_client_and_its_server(is_stopped: bool, tmp_path: Path) -> None:
    (tmp_path / "stepping.py").write_text(STEPPING)
    paths = os.pathsep.join(filter(None, sys.path))
    words = ["env", f"PATHS={paths}", sys.executable, str(tmp_path / "stepping.py"), "unix", str(tmp_path / "end")]
    with tmux(tmp_path / "tmux", "bash --norc") as terminal:
        terminal.type(shlex.join(words))
        found = terminal.until(r"^pids (\d+) (\d+)$")
        pids = [int(found[1]), int(found[2])]
        if is_stopped:
            terminal.press("C-z")
            polling.until_state(pids[0], "T")
        terminal.end()
        polling.until_dead(pids)
