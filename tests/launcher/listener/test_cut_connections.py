"""A connection reset or half-closed in transit: the calls of both sides end within half a second, with their errors.

Each side sees only its own end: the client gets ConnectionLost, and no process of the server is left.
"""

import itertools
import sys
import threading
from typing import Any

import pytest
from support import polling
from support.clock import Clock
from support.faulty import PROMPT_S, act, calls_of
from support.paths import ENVS
from support.relay import HOW, between
from support.serving import Certified, Serving, running

import gym_service
from gym_service import RemoteEnv
from gym_service.errors import ClosedError, ConnectionLost

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

WAYS = ("unix path", "tcp", "tcp+tls")
# The promised time.
NOTICED_S = 0.5
# What the server does in the current call: it sleeps, holds the GIL in C, or computes for ever.
CALLS = ("asleep in Python", "asleep in C", "spinning in Python")


class Step:
    """A step in a separate thread, and its outcome."""

    def __init__(self, env: RemoteEnv) -> None:
        self.raised: BaseException | None = None
        self.ended = threading.Event()
        self._env = env
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            act(self._env, "step")
        except ConnectionLost as error:
            self.raised = error
        finally:
            self.ended.set()

    def assert_lost(self, address: str) -> None:
        self._thread.join()
        assert isinstance(self.raised, ConnectionLost)
        assert (self.raised.during, self.raised.address) == ("step", address)


def assert_both_notice(serving: Serving, how: str, call: str, within_s: float, keys: dict[str, Any]) -> None:
    """Idle without a ``call``, otherwise in the middle of it."""
    with between(serving.address) as way:
        env = gym_service.make("Faulty", address=way.address, timeouts={"step": 60.0}, **keys)
        pid = env.target["pid"]
        env.reset()
        if call:
            env.call("arm", "step", call)
            step = Step(env)
            polling.until(lambda: calls_of(pid) == 4, "the call under way")
        clock = Clock()
        way.end("server", how)
        polling.until_dead([pid])
        assert clock.took_s <= within_s, f"the server, {how}, {call or 'idle'}"
        assert ("in a call" if call else "exit code 0") in serving.until(f"server {pid}, ")
        clock = Clock()
        way.end("client", how)
        if not call:
            step = Step(env)
        assert step.ended.wait(polling.TIMEOUT_S)
        assert clock.took_s <= within_s, f"the client, {how}, {call or 'idle'}"
        step.assert_lost(way.address)
        with pytest.raises(ClosedError):
            env.reset()
        env.close()


def serving_over(way: str, own: Certified, keys: dict[str, Any]) -> Any:
    options: list[Any] = ["--allow-import", "--pythonpath", ENVS]
    keys["entry_point"] = "faulty:FaultyEnv"
    if way == "tcp+tls":
        options += own.options()
        keys["tls_sha256"] = own.sha256
    return running(sys.executable, *options, unix="" if way == "unix path" else None)


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_is_noticed_on_both_sides(way: str, own: Certified) -> None:
    keys: dict[str, Any] = {}
    with serving_over(way, own, keys) as serving:
        for how, call in itertools.product(HOW, ("", CALLS[0])):
            assert_both_notice(serving, how, call, NOTICED_S + PROMPT_S, keys)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_a_cut_is_noticed_within_the_half_second(way: str, own: Certified) -> None:
    keys: dict[str, Any] = {}
    with serving_over(way, own, keys) as serving:
        for how, call in list(itertools.product(HOW, ("", *CALLS))) * 3:
            assert_both_notice(serving, how, call, NOTICED_S, keys)
