"""The faults of tests/faults with a persistent server: dead, silent, late servers, and killed clients.

What a client of such a server cannot know, since the process may be on another host, is in the server's log.
"""

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gym_service_launcher.listener.session import CALL_S, LEAVE_S
from gym_service_launcher.processes.child import ending
from support import polling, procfs
from support.clients import client
from support.clock import Clock
from support.faulty import PROMPT_S, act, action, assert_exact
from support.paths import ENVS
from support.serving import Certified, Serving, running

import gym_service
from gym_service import RemoteEnv
from gym_service.errors import CallTimeout, ClosedError, ConnectionLost

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

WAYS = ("unix path", "tcp", pytest.param("tcp+tls", marks=pytest.mark.long))
# One of the transports in CI, the others in the long form.
UNIX_FIRST = ("unix path", *(pytest.param(way, marks=pytest.mark.long) for way in ("tcp", "tcp+tls")))
TCP_FIRST = ("tcp", *(pytest.param(way, marks=pytest.mark.long) for way in ("unix path", "tcp+tls")))
DEATHS = {"SIGKILL": -9, "SIGSEGV": -11, "SIGABRT": -6, "os._exit": 7, "sys.exit": 3}
SILENCES = ("asleep in C", "SIGSTOP", "spinning in C", "spinning in Python", "asleep in Python")
METHODS = ("step", "reset", "render")
LIMIT_S = 0.4
LIMITS = dict.fromkeys(METHODS, LIMIT_S)
GONE_S = 1.0


class Place:
    """A persistent server, and how to reach it."""

    def __init__(self, serving: Serving, keys: dict[str, Any]) -> None:
        self.serving = serving
        self.keys = {"entry_point": "faulty:FaultyEnv", "address": serving.address, **keys}

    @contextmanager
    def faulty(self, **given: Any) -> Iterator[RemoteEnv]:
        env = gym_service.make("Faulty", **self.keys, **given)
        try:
            env.reset()
            yield env
        finally:
            env.close()


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest, own: Certified) -> Iterator[Place]:
    options: list[Any] = ["--allow-import", "--pythonpath", ENVS]
    keys: dict[str, Any] = {}
    if request.param == "tcp+tls":
        options += own.options()
        keys["tls_sha256"] = own.sha256
    with running(sys.executable, *options, unix="" if request.param == "unix path" else None) as serving:
        yield Place(serving, keys)


def assert_dies(place: Place, fault: str, method: str) -> None:
    with place.faulty() as env, place.faulty() as other:
        pid = env.target["pid"]
        env.call("arm", method, fault)
        clock = Clock()
        with pytest.raises(ConnectionLost) as caught:
            act(env, method)
        assert clock.took_s <= PROMPT_S
        assert (caught.value.during, caught.value.address) == (method, place.serving.address)
        with pytest.raises(ClosedError):
            act(env, method)
        assert ending(DEATHS[fault]) in place.serving.until(f"server {pid}, ")
        if fault == "os._exit":  # for the other faults, tracebacks and stacks are longer than the part that is shown
            place.serving.until("last words")
        assert_exact(other, 3)


def assert_times_out(place: Place, fault: str, method: str) -> None:
    with place.faulty(timeouts=LIMITS) as env:
        pid = env.target["pid"]
        env.call("arm", method, fault)
        clock = Clock()
        with pytest.raises(CallTimeout) as caught:
            act(env, method)
        assert clock.is_within(LIMIT_S, LIMIT_S + PROMPT_S)
        assert (caught.value.during, caught.value.timeout_s, caught.value.state) == (method, LIMIT_S, "unknown")
        with pytest.raises(ClosedError):
            act(env, method)
        polling.until_dead([pid])
        assert clock.took_s <= LIMIT_S + CALL_S + 2 * PROMPT_S
        assert "killed because" in place.serving.until(f"server {pid}, ")


def test_a_death_and_a_silence(place: Place) -> None:
    assert_dies(place, "SIGKILL", "step")
    assert_times_out(place, "asleep in C", "step")


@pytest.mark.long
def test_every_death_and_every_silence_in_every_call(place: Place) -> None:
    for fault, method in itertools.product(DEATHS, METHODS):
        assert_dies(place, fault, method)
    for fault, method in itertools.product(SILENCES, METHODS):
        assert_times_out(place, fault, method)


@pytest.mark.parametrize("place", TCP_FIRST, indirect=True)
def test_no_late_reply_is_anybodys_answer(place: Place) -> None:
    """The step that timed out has computed its answer. After the restart every reply must match its own action."""
    with place.faulty(timeouts={"step": LIMIT_S}, restart="on-reset") as env:
        first = env.target["pid"]
        env.call("slow_down", LIMIT_S + 0.05)
        with pytest.raises(CallTimeout):
            env.step(action(99))
        assert_exact(env, 1000, first=1000)
        assert env.target["pid"] != first


# A client that is killed during a call, during its own steps, or between two calls.
CLIENT = """
import gym_service
state, *keys = os.environ["FAULTS_CASE"].split(",")
env = gym_service.make("Faulty", entry_point="faulty:FaultyEnv", **dict(key.split("=", 1) for key in keys))
env.reset()
say(env.target["pid"], *env.call("start_children"))
if state == "idle":
    hear()
while state == "steps":
    act(env, "step")
env.call("arm", "step", state)
act(env, "step")
"""
STATES = ("idle", "steps", "spinning in Python", "spinning in C", "asleep in C", "SIGSTOP")


def assert_nothing_outlives(place: Place, state: str) -> None:
    """Nothing may outlive it, including what the simulator has started, in any session."""
    keys = [f"{key}={value}" for key, value in place.keys.items() if key != "entry_point"]
    folders = {"XDG_RUNTIME_DIR": "", "FAULTS_CASE": ",".join([state, *keys])}
    with client(CLIENT, folders) as killed:
        pid, *children = map(int, killed.says().split())
        assert all(procfs.state(process) for process in (pid, *children))
        clock = Clock()
        killed.kill()
        polling.until_dead([pid, *children])
        assert clock.took_s <= GONE_S
        place.serving.until(f"server {pid}, ")


@pytest.mark.parametrize("place", UNIX_FIRST, indirect=True)
def test_a_killed_client_leaves_nothing_of_its_server(place: Place) -> None:
    assert_nothing_outlives(place, "asleep in C")


@pytest.mark.long
def test_a_killed_client_leaves_nothing_whatever_its_server_does(place: Place) -> None:
    for state in STATES * 3:
        assert_nothing_outlives(place, state)


@pytest.mark.long
def test_a_server_that_closes_its_env_has_longer_than_one_in_a_call(place: Place) -> None:
    with place.faulty(timeouts={"close": 0.2}) as env:
        pid = env.target["pid"]
        env.call("arm", "close", "asleep in Python")
        env.close()
        assert f"was still running {LEAVE_S:g} s" in place.serving.until(f"server {pid}, ")


@pytest.mark.long
def test_a_server_that_is_killed_by_hand_between_two_calls(place: Place) -> None:
    with place.faulty() as env:
        pid = env.target["pid"]
        os.kill(pid, signal.SIGKILL)
        polling.until_dead([pid])
        clock = Clock()
        with pytest.raises(ConnectionLost):
            act(env, "step")
        assert clock.took_s <= PROMPT_S
