"""The guardian: killed, started in unusual conditions, and its fallback for systems without Linux's calls."""

import os
import signal

import pytest
from support import polling, procfs
from support.clients import GONE_S, assert_nothing_outlives, client
from support.faulty import PROMPT_S, TRANSPORTS, alternately

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

KILLED = """
env_of_first = faulty(transport=os.environ["FAULTS_CASE"])
with env_of_first as env:
    env.reset()
    say(env.target["pid"])
    hear()
    clock = Clock()
    try:
        act(env, "step")
    except errors.ServerCrashed as error:
        say(error.exit_code, clock.took_s)
    try:
        act(env, "step")
    except errors.ClosedError:
        say("closed")
with faulty() as env:
    env.reset()
    act(env, "step")
    say("works", env.target["pid"])
    hear()
say("over")
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_guardian_killed(transport: str) -> None:
    with client(KILLED, {"FAULTS_CASE": transport}) as running:
        server = int(running.says())
        first = procfs.guardian_of(running.pid)
        os.kill(first, signal.SIGKILL)
        polling.until_dead([server], PROMPT_S)
        running.hears()
        exit_code, took_s = running.says().split()
        assert int(exit_code) == -9
        assert float(took_s) <= PROMPT_S
        assert running.says() == "closed"
        assert running.says().startswith("works")
        assert procfs.guardian_of(running.pid) != first
        assert not procfs.state(first)  # it is a child of process 1, which may not reap it
        running.hears()
        assert running.says() == "over"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


KILLED_IN_A_CALL = """
for method, fault in (("step", "asleep in C"), ("reset", "asleep in Python"), ("render", "SIGSTOP")):
    with armed(method, fault, transport=os.environ["FAULTS_CASE"]) as env:
        say(env.target["pid"])
        try:
            act(env, method)
        except errors.ServerCrashed as error:
            say(error.during, error.exit_code)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_guardian_killed_during_a_call(transport: str) -> None:
    with client(KILLED_IN_A_CALL, {"FAULTS_CASE": transport}) as running:
        for method in ("step", "reset", "render"):
            polling.until_state(int(running.says()), "ST")
            os.kill(procfs.guardian_of(running.pid), signal.SIGKILL)
            assert running.says(PROMPT_S) == f"{method} -9"
        assert running.end() == 0
        assert running.errors() == ""


KILLED_IN_MAKE = """
try:
    with faulty(transport=os.environ["FAULTS_CASE"], on="make", what="children, then asleep"):
        pass
except errors.ServerStartError as error:
    say(error.exit_code, "killed by SIGKILL" in str(error), "\\n  try: " in str(error))
with faulty(transport=os.environ["FAULTS_CASE"]) as env:
    env.reset()
    say(act(env, "step", 3)[1])
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_guardian_killed_while_a_server_makes_its_env(transport: str) -> None:
    with client(KILLED_IN_MAKE, {"FAULTS_CASE": transport}) as running:
        # The server and the three processes that it starts before it sleeps.
        polling.until(lambda: len(running.family()) == 2 + 4, "the server and its children")
        os.kill(procfs.guardian_of(running.pid), signal.SIGKILL)
        # After a failed start, the launcher examines the interpreter by running it once more.
        assert running.says(2.0) == "-9 True True"
        assert running.says() == "3.0"
        assert running.end() == 0
        assert running.errors() == ""


# What a program may have done to its process before it makes its first env.
ODD_CLIENTS = {
    "blocked signals": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM, signal.SIGALRM])",
    "ignored children": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "much open": "for _ in range(100): os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)",
}
ODD = """
def use(say=say):
    with armed("step", "SIGSTOP", transport=os.environ["FAULTS_CASE"], timeouts={"step": 0.3}) as env:
        try:
            act(env, "step")
        except errors.CallTimeout as error:
            say(error.state)
    with armed("step", "SIGKILL", transport=os.environ["FAULTS_CASE"]) as env:
        try:
            act(env, "step")
        except errors.ServerCrashed as error:
            say(error.exit_code)
"""


@pytest.mark.parametrize(("oddity", "transport"), alternately(ODD_CLIENTS))
def test_a_guardian_of_an_odd_client(oddity: str, transport: str) -> None:
    with client(f"{ODD_CLIENTS[oddity]}\n{ODD}\nuse()", {"FAULTS_CASE": transport}) as running:
        assert running.says() == "stopped"
        assert running.says() == "-9"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_guardian_of_a_client_whose_streams_are_closed(transport: str) -> None:
    program = """
        def say(*words): os.write(saved, (" ".join(map(str, words)) + "\\n").encode())
        from gym_service_launcher.processes import guardian_client  # all is imported before the streams go
        import gym_service.factory.open_env
        saved = os.dup(1)
        for fd in (0, 1, 2): os.close(fd)
    """
    program = "\n".join(line[8:] for line in program.splitlines())
    with client(f"{program}\n{ODD}\nuse(say)\nos._exit(0)", {"FAULTS_CASE": transport}) as running:
        assert running.says() == "stopped"
        assert running.says() == "-9"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


THREADS = """
def make(found):
    found.append(faulty(transport=os.environ["FAULTS_CASE"]))
    found.append(found[0].__enter__())
found = []
thread = threading.Thread(target=make, args=(found,))
thread.start()
thread.join()
for _ in range(100):
    act(found[1], "step")
found[0].__exit__(None, None, None)
say("fine")
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_thread_that_started_the_server_ends(transport: str) -> None:
    with client(THREADS, {"FAULTS_CASE": transport}) as running:
        assert running.says() == "fine"
        assert running.end() == 0
        assert running.errors() == ""


def test_a_fork_while_another_thread_starts_a_server() -> None:
    program = """
from gym_service_launcher.processes import guardian_client
holds, may_go = threading.Event(), threading.Event()
def hold():
    with guardian_client._starting:
        holds.set()
        may_go.wait()
thread = threading.Thread(target=hold)
thread.start()
holds.wait()
child = os.fork()
if child == 0:
    with faulty() as env:
        env.reset()
        act(env, "step")
    say("child works")
    os._exit(0)
may_go.set()
thread.join()
os.waitpid(child, 0)
with faulty() as env:
    env.reset()
say("parent works")
"""
    with client(program) as running:
        assert running.says() == "child works"
        assert running.says() == "parent works"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


PORTABLE = """
from gym_service_launcher.processes import guardian_client
guardian_client.ensure(portable=True)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_second_choice_tells_of_deaths_and_silences(transport: str) -> None:
    with client(PORTABLE + ODD + "use()", {"FAULTS_CASE": transport}) as running:
        assert running.says() == "stopped"
        assert running.says() == "-9"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])


SECOND_CHOICE = """
with faulty(transport=os.environ["FAULTS_CASE"].split(",")[0], timeouts={"call": 60}) as env:
    env.reset()
    forked = os.fork()
    if forked == 0:
        time.sleep(600)
    say(env.target["pid"], forked)
    env.call("arm", "step", os.environ["FAULTS_CASE"].split(",")[1])
    act(env, "step")
"""


@pytest.mark.parametrize(("state", "transport"), alternately(["asleep in C", "SIGSTOP", "spinning in Python"]))
def test_the_second_choice_kills_the_servers_of_a_dead_client(state: str, transport: str) -> None:
    with client(PORTABLE + SECOND_CHOICE, {"FAULTS_CASE": f"{transport},{state}"}) as running:
        pid, forked = map(int, running.says().split())
        if state == "SIGSTOP":
            polling.until_state(pid, "T")
        running.kill()
        assert_nothing_outlives(running, [forked])


SECOND_CHOICE_GROUP = """
for deed in ("close", "crash", "die"):
    with faulty() as env:
        env.reset()
        say(env.target["pid"], env.call("start_children")[0])
        if deed == "close":
            env.close()
        elif deed == "crash":
            os.kill(env.target["pid"], signal.SIGKILL)
            try:
                act(env, "step")
            except errors.ServerCrashed as error:
                say(error.exit_code)
        else:
            hear()
"""


def test_the_second_choice_kills_the_process_group() -> None:
    """It does not reach children in their own sessions: docs/architecture.md says so."""
    with client(PORTABLE + SECOND_CHOICE_GROUP) as running:
        assert polling.until_dead(map(int, running.says().split()), 5 + GONE_S) >= 0
        crashed = list(map(int, running.says().split()))
        assert running.says() == "-9"
        polling.until_dead(crashed, GONE_S)
        of_dead_client = list(map(int, running.says().split()))
        running.kill()
        polling.until_dead(of_dead_client, GONE_S)


DIES_WITH_A_REQUEST = """
from support import polling, procfs
from gym_service_launcher.processes import guardian_client
with faulty():
    pass
for number in range(8):
    guardian = procfs.guardian_of(os.getpid())
    os.kill(guardian, signal.SIGSTOP)  # so that the request is on its way when it dies
    killer = threading.Thread(target=lambda: (hear(), os.kill(guardian, signal.SIGKILL)))
    killer.start()
    say("asks")
    with faulty() as env:
        env.reset()
        say(act(env, "step", number)[1])
    killer.join()
"""


def test_a_guardian_that_dies_with_a_request_in_its_hands() -> None:
    with client(DIES_WITH_A_REQUEST) as running:
        for number in range(8):
            assert running.says() == "asks"
            # Some of the requests are sent by now, others are not.
            running.hears()
            assert running.says() == f"{float(number)}"
        assert running.end() == 0
        assert running.errors() == ""
        assert_nothing_outlives(running, [])
