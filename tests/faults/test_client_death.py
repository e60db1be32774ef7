"""A client that is killed at any moment: nothing that it started outlives it by more than a second."""

import os
import random
import signal
import time

import pytest
from support import polling, procfs
from support.clients import GONE_S, assert_nothing_outlives, client
from support.faulty import TRANSPORTS

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# What the server does when its client dies: the fault in the last call; "" for idle, "steps" for ordinary work.
STATES = ("", "steps", "spinning in Python", "spinning in C", "asleep in C", "SIGSTOP")
LONGEST_WAIT_S = 0.3

PROGRAM = """
transport, state, is_forked = os.environ["FAULTS_CASE"].split(",")
with faulty(transport=transport, timeouts={"call": 60}) as env:
    env.reset()
    children = env.call("start_children")
    forked = os.fork() if is_forked == "forked" else 0
    if is_forked == "forked" and forked == 0:
        time.sleep(600)
    say(env.target["pid"], forked, *children)
    if state == "":
        time.sleep(600)
    elif state == "steps":
        while True:
            act(env, "step")
    else:
        env.call("arm", "step", state)
        act(env, "step")
"""


def kill_at_a_random_moment(transport: str, state: str, is_forked: bool, seed: int) -> None:
    case = f"{transport},{state},{'forked' if is_forked else 'alone'}"
    with client(PROGRAM, {"FAULTS_CASE": case}) as running:
        pid, forked, *children = map(int, running.says().split())
        assert all(procfs.state(process) for process in (pid, *children))
        if state == "SIGSTOP":
            polling.until_state(pid, "T")
        # A random moment is the purpose of this test; nothing waits for the end of this sleep.
        time.sleep(random.Random(seed).uniform(0, LONGEST_WAIT_S))
        running.kill()
        assert_nothing_outlives(running, [forked] if is_forked else [])


@pytest.mark.parametrize("is_forked", [False, True], ids=["alone", "forked"])
@pytest.mark.parametrize("state", STATES)
def test_a_client_killed(state: str, is_forked: bool) -> None:
    transport = TRANSPORTS[(STATES.index(state) + is_forked) % 2]
    kill_at_a_random_moment(transport, state, is_forked, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("is_forked", [False, True], ids=["alone", "forked"])
@pytest.mark.parametrize("state", STATES)
def test_a_client_killed_at_fifty_moments(state: str, is_forked: bool) -> None:
    for seed in range(50):
        kill_at_a_random_moment(TRANSPORTS[seed % 2], state, is_forked, seed)


STARTS = """
say("begun")
from gym_service_launcher.processes import guardian_client
while True:
    with faulty(transport=os.environ["FAULTS_CASE"]) as env:
        env.reset()
"""


# Seed 31 hit the moment between a server's record and the request for the server.
SEEDS = [seed if seed in (0, 1, 31) else pytest.param(seed, marks=pytest.mark.long) for seed in range(50)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_client_killed_while_it_starts_and_closes_servers(seed: int) -> None:
    with client(STARTS, {"FAULTS_CASE": TRANSPORTS[seed % 2]}) as running:
        assert running.says() == "begun"
        time.sleep(random.Random(seed).uniform(0, 1.5))  # a random moment is the purpose of this test
        running.kill()
        assert_nothing_outlives(running, [])


HALF_A_REQUEST = """
import socket
from gym_service_launcher.processes import guardian_client
from gym_service_launcher.standalone import fd_passing, guardian
with faulty() as env:
    if os.fork() == 0:  # holds a copy of the control socket
        time.sleep(600)
    ours, theirs = socket.socketpair()
    control = guardian_client._guardian.control()
    fd_passing.send(control, guardian.HEADER.pack(5000), [theirs.fileno()])
    say(env.target["pid"])
    time.sleep(600)
"""


def test_a_client_killed_in_the_middle_of_a_request_while_a_fork_of_it_lives() -> None:
    with client(HALF_A_REQUEST) as running:
        server = int(running.says())
        polling.until_state(server, "S")
        running.kill()
        polling.until_dead([server], GONE_S)


STOPPED = """
with faulty(transport=os.environ["FAULTS_CASE"]) as env:
    say(env.target["pid"], *env.call("start_children"))
    hear()
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_terminated_while_its_server_is_stopped(transport: str) -> None:
    with client(STOPPED, {"FAULTS_CASE": transport}) as running:
        pid = int(running.says().split()[0])
        os.kill(pid, signal.SIGSTOP)
        polling.until_state(pid, "T")
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == -signal.SIGTERM
        assert_nothing_outlives(running, [])


EXECUTES = """
with faulty() as env:
    say(env.target["pid"])
    os.execv("/bin/sleep", ["sleep", "600"])
"""


def test_a_client_that_becomes_another_program() -> None:
    with client(EXECUTES) as running:
        server = int(running.says())
        polling.until_dead([server], GONE_S)
