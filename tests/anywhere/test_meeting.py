"""Whether both ends are on one machine: what the client says first, and what may become of that."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gym_service_launcher import meeting
from opened import ENVS
from serving import AT_ONCE_S, proven, rest_of, running

import gym_service

STAMPED = {"entry_point": "stamped:StampedEnv"}
OPTIONS = ("--allow-import", "--pythonpath", ENVS)


def is_leased(env: gym_service.RemoteEnv) -> bool:
    observation, _ = env.reset()
    assert (observation["top"] == 1).all()
    return type(observation["top"].base).__name__ == "Lease"


@contextlib.contextmanager
def tunnel(port: int) -> Iterator[int]:
    """A port that leads to another one, as ssh -L makes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def carry(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        def serve() -> None:
            near, _ = listener.accept()
            with near, socket.create_connection(("127.0.0.1", port)) as far:
                back = threading.Thread(target=carry, args=(far, near))
                back.start()
                carry(near, far)
                back.join()

        serving = threading.Thread(target=serve)
        serving.start()
        yield listener.getsockname()[1]
        serving.join()


def test_over_loopback_memory_is_shared_and_nobody_else_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(meeting.secrets, "token_hex", lambda count: names.append(os.urandom(count).hex()) or names[-1])
    with running(sys.executable, *OPTIONS) as serving:
        env = gym_service.make("Stamped", address=serving.address, **STAMPED)
        try:
            assert is_leased(env)
            assert f"@gym-service-{names[-1]}" in Path("/proc/net/unix").read_text()
            with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(meeting.PREFIX + names[-1])
        finally:
            env.close()


def test_through_a_tunnel_on_this_machine_too() -> None:
    with running(sys.executable, *OPTIONS) as serving, tunnel(serving.port) as port:
        env = gym_service.make("Stamped", address=f"tcp://127.0.0.1:{port}", **STAMPED)
        try:
            assert is_leased(env)
        finally:
            env.close()


@pytest.mark.parametrize("why", ["no such names", "nobody comes", "another user comes"])
def test_without_a_meeting_arrays_travel_inline(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "no such names":
        monkeypatch.setattr(meeting.sys, "platform", "darwin")
    elif why == "nobody comes":  # as from another network namespace
        monkeypatch.setattr(meeting, "PREFIX", "\0elsewhere-")
    else:
        monkeypatch.setattr(meeting.unix, "peer", lambda sock: (1, os.geteuid() + 1))
    with running(sys.executable, *OPTIONS) as serving:
        env = gym_service.make("Stamped", address=serving.address, **STAMPED)
        try:
            assert not is_leased(env)
            for stamp in range(2, 50):
                observation, *_ = env.step(np.zeros(env.action_space.shape, np.uint8))
                assert (observation["top"] == stamp).all()
        finally:
            env.close()


def test_who_asks_for_coded_pictures_gets_them_over_loopback_too() -> None:
    with running() as serving, gym_service.make("CartPole-v1", address=serving.address, frames="zlib") as env:
        assert env.target["frames"] == "zlib"


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"gS\x01", b"\0" * 8, b"ABC"])
def test_what_is_no_preface_ends_it_at_once(first: bytes) -> None:
    with running() as serving, proven(serving.address, first) as sock:
        _, after_s = rest_of(sock)
        assert after_s < AT_ONCE_S + 5.0  # the start of a server's interpreter among it
        serving.until("gone after .* exit code 1")
        serving.until("are not the beginning of a client's")


def test_who_leaves_in_the_middle_of_it_leaves_nothing() -> None:
    with running() as serving, proven(serving.address, b"0123") as sock:
        sock.close()
        serving.until("gone after .* exit code 0")


def test_a_name_at_which_nobody_listens_is_answered_all_the_same() -> None:
    preface = b"0123456789abcdef" * 2
    with running() as serving, proven(serving.address, preface) as sock:
        assert sock.recv(len(preface), socket.MSG_WAITALL) == preface


def test_who_says_nothing_is_not_waited_for_for_ever() -> None:
    """With a limit that is short: a server program of its own, for a whole half minute is long."""
    short = """
import sys, gym_service.server.stdio as stdio
stdio.PREFACE_S = 0.2
stdio.open_socket(sys.argv[1], None, True)
"""
    near, far = socket.socketpair()
    with near, far:
        argv = [sys.executable, "-c", short, str(far.fileno())]
        ran = subprocess.run(argv, capture_output=True, text=True, pass_fds=[far.fileno()], timeout=60, check=False)
    assert "a client said nothing for 0.2 s" in ran.stderr
