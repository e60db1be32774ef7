"""Fork servers that fail and die: what users of their servers get, and that no process is left. Python 3.10."""

import os
import signal
from pathlib import Path

import pytest
from support import polling, procfs
from support.clients import GONE_S, assert_nothing_outlives, client
from support.faulty import PROMPT_S

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Three forked servers. The first has children of every kind, the last is in the state that the case names.
FAMILY = """
from contextlib import ExitStack
transport, state = os.environ["FAULTS_CASE"].split(",")
stack = ExitStack()
envs = [stack.enter_context(faulty(transport=transport, prefork=True, timeouts={"call": 60})) for _ in range(3)]
for env in envs:
    env.reset()
children = envs[0].call("start_children")
say(procfs.parent(envs[0].target["pid"]), *(env.target["pid"] for env in envs), *children)
"""
BUSY = """
if state:
    envs[2].call("arm", "step", state)
while True:
    act(envs[2], "step")
"""


@pytest.mark.parametrize(("transport", "state"), [("unix", ""), ("stdio", "asleep in C"), ("unix", "SIGSTOP")])
def test_a_client_killed(transport: str, state: str) -> None:
    with client(FAMILY + BUSY, {"FAULTS_CASE": f"{transport},{state}"}) as running:
        fork_server, *rest = map(int, running.says().split())
        assert all(map(procfs.state, rest))
        if state == "SIGSTOP":
            polling.until_state(rest[2], "T")
            os.kill(fork_server, signal.SIGSTOP)
            polling.until_state(fork_server, "T")
        running.kill()
        assert_nothing_outlives(running, [])


IMPORTS = """
from support.opened import opened
with opened("Asleep", entry_point="asleep:Env", pythonpath=[os.environ["FAULTS_FOLDER"]], prefork=True):
    pass
"""
ASLEEP = """
import os, time
with open(os.environ["FAULTS_FOLDER"] + "/pid.new", "w") as file:
    file.write(str(os.getpid()))
os.rename(file.name, file.name[:-4])
time.sleep(600)
"""


def test_a_client_killed_while_its_fork_server_imports(tmp_path: Path) -> None:
    (tmp_path / "asleep.py").write_text(ASLEEP)
    with client(IMPORTS, {"FAULTS_FOLDER": str(tmp_path)}) as running:
        polling.until((tmp_path / "pid").exists, "its import")
        fork_server = int((tmp_path / "pid").read_text())
        assert procfs.state(fork_server)
        running.kill()
        assert_nothing_outlives(running, [])


ENDS = """
hear()
for env in envs:
    try:
        act(env, "step")
    except errors.ServerCrashed as error:
        say(error.exit_code, "its fork server" in str(error))
stack.close()
with faulty(transport=transport, prefork=True) as env:
    env.reset()
    say(act(env, "step", 5)[1])
"""


@pytest.mark.parametrize(("victim", "transport"), [("fork server", "unix"), ("guardian", "stdio")])
def test_who_is_above_the_servers_killed(victim: str, transport: str) -> None:
    with client(FAMILY + ENDS, {"FAULTS_CASE": f"{transport},"}) as running:
        fork_server, *rest = map(int, running.says().split())
        servers, children = rest[:3], rest[3:]
        os.kill(fork_server if victim == "fork server" else procfs.guardian_of(running.pid), signal.SIGKILL)
        polling.until_dead([fork_server, *servers], PROMPT_S)
        if victim == "fork server":
            polling.until_dead(children, PROMPT_S)
        running.hears()
        for _ in servers:
            assert running.says() == "-9 True"
        assert running.says() == "5.0"
        assert running.end() == 0
        assert running.errors() == ""
        for child in children if victim == "guardian" else []:  # these outlive it: docs/architecture.md says so
            os.kill(child, signal.SIGKILL)
        assert_nothing_outlives(running, [])


SIBLINGS = """
from support.faulty import assert_exact
for fault in ("SIGKILL", "asleep in C", "SIGSTOP"):
    with faulty(prefork=True, timeouts={"step": 0.5}) as env:
        env.reset()
        env.call("arm", "step", fault)
        killed = envs.pop() if len(envs) > 1 else None
        if killed:
            os.kill(killed.target["pid"], signal.SIGKILL)
        try:
            act(env, "step")
        except (errors.ServerCrashed, errors.CallTimeout) as error:
            say(type(error).__name__)
        assert_exact(envs[0], 30)
stack.close()
"""


def test_siblings_of_the_dead_go_on() -> None:
    with client(FAMILY + SIBLINGS, {"FAULTS_CASE": "unix,"}) as running:
        running.says()
        assert [running.says() for _ in range(3)] == ["ServerCrashed", "CallTimeout", "CallTimeout"]
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


EXITS = """
import sys
sys.exit(5)
"""


def test_a_client_that_ends_and_has_closed_nothing() -> None:
    with client(FAMILY + EXITS, {"FAULTS_CASE": "unix,"}) as running:
        running.says()
        assert running.end() == 5
        polling.until(lambda: not running.family(), "the end of the family", GONE_S)
        assert running.errors() == ""
        assert_nothing_outlives(running, [])
