"""A client under a real terminal: its servers stay in its session, and nothing of the terminal reaches them."""

import os
import pty
from collections.abc import Iterator

import pytest
from support import polling, procfs
from support.clients import assert_nothing_outlives, client

# About processes and not about versions: once is enough.
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
