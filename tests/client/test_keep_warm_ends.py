"""When a fork server that is kept warm ends: its time, its memory, its programs, and signals."""

import os
import re
import signal
import time

import pytest
from support import polling, procfs
from support.keep_warm import LONG_S, ONCE, PLAY, SOON_S, UNTIL_TOLD, importers, opening, sockets, stop
from support.programs import Programs

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# Each program takes a second, so most tests are run by hand.
LONG = pytest.mark.long


def test_it_ends_by_its_time_as_the_last_program_says(group: Programs) -> None:
    group.run(opening(keep_warm_s=LONG_S) + ONCE)
    program = group.start(opening(keep_warm_s=1.5) + UNTIL_TOLD)
    program.says()
    # Another one of the same time, which nobody uses, ends later than this one would.
    group.run(opening(keep_warm_s=1.5) + ONCE, OTHER="yes")
    importer, other = importers(group)
    polling.until_dead([other], SOON_S)
    assert procfs.state(importer)  # a program uses it
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
