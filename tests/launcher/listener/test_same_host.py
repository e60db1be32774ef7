"""How the two ends find out whether they are on one machine: the client's preamble, and all possible outcomes."""

import array
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gym_service_launcher.net import handshake, same_host, tls, tokens
from support import procfs
from support.paths import ENVS
from support.serving import AT_ONCE_S, TIMEOUT_S, Certified, connected, proven, rest_of, running

import gym_service
from gym_service.errors import ServerStartError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

STAMPED = {"entry_point": "stamped:StampedEnv"}
OPTIONS = ("--allow-import", "--pythonpath", ENVS)


def is_leased(env: gym_service.RemoteEnv) -> bool:
    env.reset()  # its answer makes the slots and hands them over
    observation, _ = env.reset()
    assert (observation["top"] == 2).all()
    return type(observation["top"].base).__name__ == "Lease"


@contextlib.contextmanager
def tunnel(
    address: str, listener: socket.socket, let_in: Callable[[socket.socket], socket.socket] = lambda sock: sock
) -> Iterator[None]:
    """Forwards one client to an address, as ssh -L does; ``let_in`` is called with the socket before."""
    with listener:

        def carry(source: socket.socket, sink: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        def serve() -> None:
            with let_in(listener.accept()[0]) as near, connected(address) as far:
                back = threading.Thread(target=carry, args=(far, near))
                back.start()
                carry(near, far)
                back.join()

        serving = threading.Thread(target=serve)
        serving.start()
        yield
        serving.join()


def test_over_loopback_memory_is_shared_and_nobody_else_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    token_hex = lambda count: names.append(os.urandom(count).hex()) or names[-1]  # noqa: E731
    monkeypatch.setattr(same_host.secrets, "token_hex", token_hex)
    with running(sys.executable, *OPTIONS) as serving:
        env = gym_service.make("Stamped", address=serving.address, **STAMPED)
        try:
            assert is_leased(env)
            assert f"@gym-service-{names[-1]}" in procfs.unix_sockets()
            with socket.socket(socket.AF_UNIX) as sock, pytest.raises(ConnectionRefusedError):
                sock.connect(f"\0{same_host.NAME}{names[-1]}")
        finally:
            env.close()


def test_through_a_tunnel_on_this_machine_too() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with running(sys.executable, *OPTIONS) as serving, tunnel(serving.address, listener):
        env = gym_service.make("Stamped", address=address, **STAMPED)
        try:
            assert is_leased(env)
        finally:
            env.close()


@pytest.mark.parametrize("frames", ["raw", "zlib"])
def test_a_tunnel_between_unix_sockets_leaves_descriptors_behind(frames: str) -> None:
    """Then the connection counts as a network, so images are encoded if the entry asks for that."""
    folder = Path(tempfile.mkdtemp(prefix="tunnel-"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()
    with running(sys.executable, *OPTIONS, unix="") as serving, tunnel(serving.address, listener):
        env = gym_service.make("Stamped", address=f"unix://{folder / 'socket'}", frames=frames, **STAMPED)
        try:
            assert env.target["frames"] == frames
            assert not is_leased(env)
        finally:
            env.close()
    shutil.rmtree(folder)


def test_tls_may_end_before_the_server(own: Certified) -> None:
    """For example at a proxy that terminates TLS for all services of a host."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    def let_in(sock: socket.socket) -> socket.socket:
        secured = tls.Certificate(own.cert, own.key).wrap(sock)
        secured.do_handshake()
        return secured

    with running(sys.executable, *OPTIONS) as serving, tunnel(serving.address, listener, let_in):
        env = gym_service.make("Stamped", address=address, tls_sha256=own.sha256, **STAMPED)
        try:
            assert not is_leased(env)
        finally:
            env.close()


@pytest.mark.parametrize("why", ["no such names", "nobody comes", "another user comes"])
def test_unless_on_one_machine_arrays_travel_inline(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "no such names":
        monkeypatch.setattr(same_host.sys, "platform", "darwin")
    elif why == "nobody comes":  # as if from another network namespace
        monkeypatch.setattr(same_host, "NAME", "elsewhere-")
    else:
        monkeypatch.setattr(same_host.unix, "peer", lambda sock: (1, os.geteuid() + 1))
    with running(sys.executable, *OPTIONS) as serving:
        env = gym_service.make("Stamped", address=serving.address, **STAMPED)
        try:
            assert not is_leased(env)
            for stamp in range(3, 50):  # is_leased took two
                observation, *_ = env.step(np.zeros(env.action_space.shape, np.uint8))
                assert (observation["top"] == stamp).all()
        finally:
            env.close()


def test_who_asks_for_coded_pictures_gets_them_over_loopback_too() -> None:
    with running() as serving, gym_service.make("CartPole-v1", address=serving.address, frames="zlib") as env:
        assert env.target["frames"] == "zlib"


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"gS\x01", b"\0" * 8, b"ABC", b"-" * 31 + b"\n"])
def test_what_is_no_preface_ends_it_at_once(first: bytes) -> None:
    with running() as serving, proven(serving.address, first) as sock:
        _, after_s = rest_of(sock)
        assert after_s < AT_ONCE_S + 5.0  # includes the start of a server's interpreter
        serving.until_all("disconnected after .* exit code 1", "are not those of a gym-service client")


def test_who_leaves_in_the_middle_of_it_leaves_nothing() -> None:
    with running() as serving, proven(serving.address, b"0123") as sock:
        sock.close()
        serving.until("disconnected after .* exit code 0")


def test_a_name_at_which_nobody_listens_is_answered_all_the_same() -> None:
    preamble = b"0123456789abcdef" * 2
    with running() as serving, proven(serving.address, preamble) as sock:
        assert sock.recv(len(preamble), socket.MSG_WAITALL) == preamble


def test_who_says_nothing_is_not_waited_for_for_ever() -> None:
    """With a short limit, in a separate server program: the usual half minute would be too long for a test."""
    short = """
import sys, gym_service.server.endpoints as stdio
stdio.PREAMBLE_S = 0.2
stdio.open_socket(sys.argv[1], None, "32:gym-service-")
"""
    near, far = socket.socketpair()
    with near, far:
        argv = [sys.executable, "-c", short, str(far.fileno())]
        ran = subprocess.run(argv, capture_output=True, text=True, pass_fds=[far.fileno()], timeout=60, check=False)
    assert "a client sent nothing for 0.2 s" in ran.stderr


def test_who_says_nothing_at_all_is_idle() -> None:
    with running(sys.executable, "--idle-timeout", "1") as serving, proven(serving.address, b""):
        serving.until("disconnected: idle for")
        serving.until("disconnected after .* exit code 0")


def test_only_one_descriptor_is_taken() -> None:
    """The buffer for one descriptor has room for two."""
    pairs = [socket.socketpair() for _ in range(2)]
    with running(unix="") as serving, proven(serving.address, b"") as sock:
        with pairs[0][1], pairs[1][1]:
            fds = array.array("i", [theirs.fileno() for _, theirs in pairs])
            sock.sendmsg([same_host.NO_SHARED_MEMORY], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        assert sock.recv(len(same_host.NO_SHARED_MEMORY), socket.MSG_WAITALL) == same_host.NO_SHARED_MEMORY
        pairs[1][0].settimeout(TIMEOUT_S)
        assert pairs[1][0].recv(1) == b""
        with pytest.raises(BlockingIOError):
            pairs[0][0].recv(1, socket.MSG_DONTWAIT)
    for ours, _ in pairs:
        ours.close()


def test_a_server_that_says_something_else_and_does_not_stop_is_waited_for_as_long_as_any() -> None:
    ended: list[str] = []

    def talk() -> None:
        sock, _ = listener.accept()
        with sock:
            handshake.perform(sock, handshake.Handshake("server", tokens.of_client(None)))
            sock.settimeout(None)
            try:
                while not ended:
                    sock.sendall(b"something else" * 1000)
            except OSError:
                ended.append("the client hung up")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        tokens.read_or_make(tokens.usual_file())
        talking = threading.Thread(target=talk)
        talking.start()
        # Without this timer the test could hang.
        giving_up = threading.Timer(TIMEOUT_S, ended.append, ["nobody hung up"])
        giving_up.start()
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerStartError, match=r"not up after 0\.5 s"):
            gym_service.make("CartPole-v1", address=address, timeouts={"start": 0.5})
        giving_up.cancel()
        for thread in (talking, giving_up):
            thread.join()
    assert ended == ["the client hung up"]
