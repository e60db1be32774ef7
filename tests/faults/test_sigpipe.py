"""Programs in which SIGPIPE has its default action, as in many that print to a pipe: a dead server is an error."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from gym_service_launcher.net import sigpipe as launcher_sigpipe
from support import interrupts
from support.clients import assert_nothing_outlives, client
from support.faulty import TRANSPORTS
from support.serving import certified

from gym_service.transport import sigpipe

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

KILLED = """
from support import polling
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
for act_after in ("step", "reset", "render"):
    with faulty(transport=os.environ["FAULTS_CASE"]) as env:
        env.reset()
        assert act(env, "step", 1)[1] == 1
        os.kill(env.target["pid"], signal.SIGKILL)
        polling.until(lambda: not procfs.state(env.target["pid"]), "the end of the server")
        try:
            act(env, act_after)
        except errors.ServerCrashed as error:
            say(type(error).__name__)
say(signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""

NO_START = """
import gym_service
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    gym_service.make("CartPole-v1", command=["/bin/false"])
except errors.GymServiceError as error:
    say(type(error).__name__)
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_was_killed_is_an_error(transport: str) -> None:
    with client(KILLED, {"FAULTS_CASE": transport}) as running:
        for _ in range(3):
            assert running.says() == "ServerCrashed"
        assert running.says() == "True set()"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


def test_a_command_that_ends_at_once_is_an_error() -> None:
    with client(NO_START) as running:
        assert running.says() == "ServerStartError"
        assert running.end() == 0
        assert_nothing_outlives(running, [])


def transport_writes(fd: int) -> None:
    sigpipe.without(os.write, fd, b"x")


def launcher_writes(fd: int) -> None:
    launcher_sigpipe.without(os.write, fd, b"x")


@pytest.mark.parametrize("write", [transport_writes, launcher_writes])
def test_an_interrupt_at_any_line_leaves_the_signals_that_are_blocked_as_they_were(
    write: Callable[[int], None],
) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    handler = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        for point in range(1000):
            with suppress(interrupts.Late, BrokenPipeError), interrupts.interrupted_at(point, interrupts.Late) as found:
                write(write_fd)
            if found.raised is None:
                break
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
            if signal.SIGPIPE in signal.sigpending():
                signal.sigwait({signal.SIGPIPE})  # else it would end the tests
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
            assert signal.SIGPIPE not in blocked, found.where
        assert point > 3
    finally:
        signal.signal(signal.SIGPIPE, handler)
        os.close(write_fd)


HANDSHAKE = """
import socket, ssl, struct
from pathlib import Path
from gym_service_launcher.net import handshake, tls
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
listening = socket.create_server(("127.0.0.1", 0))
def serve():
    context = tls.Certificate(*map(Path, os.environ["FAULTS_CASE"].split(":")))
    sock = listening.accept()[0]
    wrapped = context.wrap(sock)
    wrapped.setblocking(True)
    wrapped.do_handshake()
    wrapped.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wrapped.close()
    ended.set()
ended = threading.Event()
threading.Thread(target=serve).start()
sock = tls.connect(socket.create_connection(listening.getsockname()), "localhost", None, None)
ended.wait()
for _ in range(2):
    handshake._send(sock, b"x" * 64)
say("alive")
"""


# The server sends its part of the handshake at once and disconnects, so the client's last message meets nobody.
HALF_HANDSHAKE = """
import socket, ssl
from pathlib import Path
from gym_service_launcher.net import handshake, tls
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
context = tls.Certificate(*map(Path, os.environ["FAULTS_CASE"].split(":")))._context
context.maximum_version = getattr(ssl.TLSVersion, os.environ["FAULTS_TLS"])
ours, theirs = socket.socketpair()
def serve():
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    far = context.wrap_bio(arrived, leaving, server_side=True)
    arrived.write(theirs.recv(65536))
    try:
        far.do_handshake()
    except ssl.SSLWantReadError:
        pass
    theirs.shutdown(socket.SHUT_RD)  # before the client gets what it answers
    theirs.sendall(leaving.read())
    theirs.close()
threading.Thread(target=serve).start()
try:
    tls.connect(ours, "localhost", None, None)
except Exception as error:
    say(type(error).__name__)
else:
    say("connected")
"""


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_of_tls_that_sends_half_a_handshake_is_no_end(tmp_path: Path, version: str) -> None:
    own = certified(tmp_path)
    with client(HALF_HANDSHAKE, {"FAULTS_CASE": f"{own.cert}:{own.key}", "FAULTS_TLS": version}) as running:
        assert running.says() == "ServerFullError"
        assert running.end() == 0


# The server sends a record that is none and disconnects. TLS answers that with an alert, while it reads.
READS = """
import socket
from pathlib import Path
from gym_service.client.tls_stream import TlsStream
from gym_service.transport.streams import ChannelClosed
from gym_service_launcher.net import tls
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ours, theirs = socket.socketpair()
def serve():
    wrapped = tls.Certificate(*map(Path, os.environ["FAULTS_CASE"].split(":"))).wrap(theirs)
    wrapped.setblocking(True)
    wrapped.do_handshake()
    raw = socket.socket(fileno=wrapped.detach())
    raw.sendall(bytes([23, 3, 3, 0, 64]) + bytes(64))
    raw.close()
    ended.set()
ended = threading.Event()
threading.Thread(target=serve).start()
stream = TlsStream(tls.connect(ours, "localhost", None, None))
ended.wait()
for read in (lambda: stream.read_into(memoryview(bytearray(9)), [], None), lambda: stream.try_read(bytearray(9), [])):
    try:
        read()
    except ChannelClosed as error:
        say(type(error).__name__)
say(signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_a_server_of_tls_that_disconnects_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    own = certified(tmp_path)
    with client(READS, {"FAULTS_CASE": f"{own.cert}:{own.key}"}) as running:
        assert [running.says(), running.says(), running.says()] == ["ChannelClosed", "ChannelClosed", "set()"]
        assert running.end() == 0


def test_a_server_of_tls_that_disconnects_during_the_handshake_is_no_end(tmp_path: Path) -> None:
    own = certified(tmp_path)
    with client(HANDSHAKE, {"FAULTS_CASE": f"{own.cert}:{own.key}"}) as running:
        assert running.says() == "alive"
        assert running.end() == 0
