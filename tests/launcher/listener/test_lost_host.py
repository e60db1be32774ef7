"""A host that vanishes, as if a cable were pulled: a side that waits, or that sends, notices it within 35 s.

A client that is reachable but reads nothing counts as lost, too.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from gym_service_launcher.listener.session import LEAVE_S
from support.paths import ENVS
from support.serving import COMMAND, Certified, Serving, proven, started

import gym_service
from gym_service.client.requests import encode
from gym_service.errors import ConnectionLost, GymServiceError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import frame_bytes

pytestmark = pytest.mark.slow

NOTICED_S = 35.0
# The additional time that a busy machine may need.
BUSY_S = 3.0
# Addresses of this process only: a killed run may have left its own behind, and other runs may use theirs now.
FAR, NEAR = (f"10.213.{os.getpid() % 256}.{host}" for host in (1, 2))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def another_host() -> Iterator[tuple[str, Callable[[], None]]]:
    """A network namespace at the other end of a cable. Yields its name, and a function that pulls the cable."""
    name = f"gs{os.getpid()}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI") and os.geteuid() == 0:
            raise
        pytest.skip(f"needs network namespaces, which root alone can make (ip netns add): {error}")
    try:
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        ip("addr", "add", f"{NEAR}/24", "dev", f"{name}a")
        ip("link", "set", f"{name}a", "up")
        for words in (["addr", "add", f"{FAR}/24", "dev", f"{name}b"], ["link", "set", f"{name}b", "up"]):
            ip("-n", name, *words)
        ip("-n", name, "link", "set", "lo", "up")
        yield name, lambda: ip("-n", name, "link", "set", f"{name}b", "down")
    finally:
        ip("netns", "del", name)


@contextmanager
def serving_there(host: str, *options: str) -> Iterator[Serving]:
    run = [*COMMAND, "run", "--python", sys.executable, "--tcp", f"{FAR}:0", *options]
    with started(["ip", "netns", "exec", host, *run, "--allow-import", "--pythonpath", str(ENVS)]) as serving:
        yield serving


def deaf(address: str) -> socket.socket:
    """A client that requests more than any buffer holds, and reads none of it."""
    sock = proven(address)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    recipe: dict[str, Any] = {
        "id": "CartPole-v1",
        "kwargs": {"render_mode": "rgb_array"},
        "imports": [],
        "wrappers": [],
    }
    recipe |= {"entry_point": None, "api": None, "max_episode_steps": None}
    reset = Encoder().add(None).add(None)
    calls = [(messages.MAKE, encode(("$", recipe))), (messages.RESET, reset)]
    calls += [(messages.RENDER, Encoder())] * 40
    for number, (kind, arguments) in enumerate(calls, 1):
        for piece in frame_bytes(kind, number, arguments.head, arguments.buffers):
            sock.sendall(piece)
    return sock


class Timed:
    """Calls in threads, and how long each took until it reported that the connection is lost."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self.took_s: dict[str, float] = {}
        self.raised: dict[str, BaseException] = {}

    def call(self, name: str, function: Callable[[], Any]) -> None:
        def run() -> None:
            begun = time.monotonic()
            try:
                function()
            except GymServiceError as error:
                self.took_s[name], self.raised[name] = time.monotonic() - begun, error

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("secured", [False, pytest.param(True, marks=pytest.mark.long)], ids=["tcp", "tcp+tls"])
def test_a_lost_host_is_noticed_waiting_and_sending_on_both_sides(secured: bool, own: Certified) -> None:
    faulty: dict[str, Any] = {"entry_point": "faulty:FaultyEnv", "timeouts": {"step": 300, "call": 300}}
    options: tuple[str, ...] = ("--insecure",)
    if secured:
        options, faulty["tls_sha256"] = own.options(), own.sha256
    # Also a client on this host, which is reachable but never reads: the kernel counts that as lost.
    here = [*COMMAND, "run", "--python", sys.executable, "--tcp", "127.0.0.1:0"]
    with (
        another_host() as (host, pull),
        serving_there(host, *options) as serving,
        started(here) as near,
        deaf(near.address),
        contextlib.ExitStack() as opened,
    ):
        waiting, sending, idle = (gym_service.make("F", address=serving.address, **faulty) for _ in range(3))
        pids = [env.target["pid"] for env in (waiting, sending, idle)]
        waiting.reset()
        waiting.call("slow_down", 300.0)
        timed = Timed()
        timed.call("waiting", lambda: waiting.step(waiting.action_space.sample()))
        if not secured:
            opened.enter_context(deaf(serving.address))
            pids.append(int(serving.until("made CartPole-v1: server").rpartition(" ")[2]))
        begun = time.monotonic()
        pull()
        timed.call("sending", lambda: sending.call("measure", np.zeros(30 * 2**20, np.uint8)))
        timed.join()
        for name in ("waiting", "sending"):
            assert isinstance(timed.raised[name], ConnectionLost), name
            assert timed.took_s[name] <= NOTICED_S + BUSY_S, name
        # On the other side: one that waits for a call, one stuck in a step, one stuck in sending.
        for _ in pids:
            serving.until("disconnected after .* server")
        assert all(any(f"server {pid}, " in line for line in serving.lines) for pid in pids)
        assert time.monotonic() - begun <= NOTICED_S + LEAVE_S + BUSY_S
        near.until("disconnected after .* CartPole-v1")
        assert time.monotonic() - begun <= NOTICED_S + LEAVE_S + BUSY_S
        for env in (waiting, sending, idle):
            env.close()
