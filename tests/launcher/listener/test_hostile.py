"""Hostile and broken clients of gym-service run: the other clients must not notice them."""

import contextlib
import re
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from gym_service_launcher.net import same_host, tokens
from gym_service_launcher.net.handshake import HELLO_BYTES, LIMIT_S, MAGIC, PROOF_BYTES, SERVER_BUSY, Handshake
from support import polling, procfs
from support.serving import AT_ONCE_S, Serving, connected, proven, rest_of, running

import gym_service
from gym_service.errors import ServerStartError
from gym_service.protocol import frames, messages

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

GIB = 2**30
# The number of unauthenticated connections at a time. The promised number, not imported from the module.
PENDING = 8
# How much a server may grow by all that unauthenticated clients send (bytes): some buffers, but not 4 GiB.
LITTLE_BYTES = 8 * 2**20


@pytest.fixture
def serving() -> Iterator[Serving]:
    with running() as server:
        yield server


def hello_of(sock: socket.socket) -> bytes:
    received = sock.recv(HELLO_BYTES, socket.MSG_WAITALL)
    assert len(received) == HELLO_BYTES
    return received


def test_recorded_reflected_and_empty_proofs_are_refused_at_once(serving: Serving) -> None:
    token = tokens.of_client(None)
    before = procfs.memory_bytes(serving.process.pid)
    # The complete handshake of an authenticated client, as an eavesdropper may have recorded it.
    recorder = Handshake("client", token)
    with connected(serving.address) as sock:
        recorded = recorder.hello
        sock.sendall(recorded)
        proof = recorder.receive(hello_of(sock))
        sock.sendall(proof)
        assert len(sock.recv(PROOF_BYTES, socket.MSG_WAITALL)) == PROOF_BYTES
        recorded += proof
    serving.until("disconnected after")

    other_token, no_server, hung_up = (
        "the client has another token",
        "the other side is not a client",
        "disconnected during",
    )
    cases = (
        ("replayed", lambda hello: recorded, other_token),
        ("its own hello", lambda hello: hello, no_server),
        ("its own nonce, and no proof", lambda hello: MAGIC["client"] + hello[len(MAGIC["server"]) :], hung_up),
        ("its own nonce, and nothing", lambda hello: MAGIC["client"] + hello[8:] + bytes(PROOF_BYTES), other_token),
        ("a server's word", lambda hello: MAGIC["client"] + bytes(32) + SERVER_BUSY, other_token),
        ("nothing", lambda hello: b"", "disconnected before"),
    )
    for what, answer, reason in cases:
        with connected(serving.address) as sock:
            sock.sendall(answer(hello_of(sock)))
            sock.shutdown(socket.SHUT_WR)
            received, took_s = rest_of(sock)
        assert (what, received) == (what, b"")
        assert took_s < AT_ONCE_S
        assert reason in serving.until("rejected| connected:"), what
    assert procfs.memory_bytes(serving.process.pid) - before < LITTLE_BYTES


def test_a_size_of_4_gib_is_refused_before_and_after_the_proof(serving: Serving) -> None:
    with connected(serving.address) as sock:
        sock.sendall((4 * GIB - 1).to_bytes(4, "big") + bytes(100))
        assert rest_of(sock)[1] < AT_ONCE_S
    serving.until("rejected: the other side is not a client")
    with proven(serving.address) as sock:
        pid = int(serving.until("connected: server").rpartition(" ")[2])
        sock.sendall(frames.HEADER.pack(frames.MAGIC, frames.VERSION, messages.MAKE, 1, 4 * GIB - 1, 0) + bytes(1000))
        assert rest_of(sock)[0] == same_host.NO_SHARED_MEMORY
    assert "exit code 1" in serving.until(f"server {pid}, ")
    # It is refused for its size, not because memory runs out.
    serving.until(r"BadFrame: .*\d{10} bytes")
    gym_service.make("CartPole-v1", address=serving.address).close()


def test_a_crowd_that_says_nothing_or_drips_is_gone_at_the_limit_and_disturbs_nobody(serving: Serving) -> None:
    env = gym_service.make("CartPole-v1", address=serving.address)
    env.reset(seed=1)
    before = procfs.memory_bytes(serving.process.pid)
    begun = time.monotonic()
    crowd = [connected(serving.address) for _ in range(200)]
    hello = Handshake("client", tokens.of_client(None)).hello
    steps = 0
    dripping = crowd[-PENDING // 2 :]
    for byte in hello[: int(LIMIT_S) + 3]:
        for sock in dripping:
            with contextlib.suppress(ConnectionError):
                sock.send(bytes([byte]))
        until = min(begun + LIMIT_S + 3, time.monotonic() + 1.0)
        while time.monotonic() < until:
            if env.step(steps % 2)[2]:
                env.reset()
            steps += 1
    ends = [rest_of(sock)[0] for sock in crowd]
    assert time.monotonic() - begun >= LIMIT_S
    # All except the last few were told to retry when more connections came; the last ones had their five seconds.
    assert all(end in (MAGIC["server"], b"") or end.startswith(MAGIC["server"]) for end in ends)
    assert sum(end.endswith(SERVER_BUSY) for end in ends) >= 200 - 2 * PENDING
    assert steps > 100
    for sock in crowd:
        sock.close()
    env.close()
    serving.until("CartPole-v1, ")  # this client has disconnected, so all lines about the others are printed
    too_many = [line for line in serving.lines if f"too many unauthenticated connections ({PENDING})" in line]
    late = [line for line in serving.lines if "took more than 5 s" in line]
    left_out = [
        int(line.split()[1]) for line in serving.lines if re.search(r" more connections? (was|were) rejected", line)
    ]
    assert len(too_many) + len(late) + sum(left_out) == 200
    assert len(too_many) < 100  # at most ten lines a second, however many connections there are
    assert 1 <= len(late) <= PENDING
    assert procfs.memory_bytes(serving.process.pid) - before < LITTLE_BYTES


def test_without_descriptors_it_costs_nothing_and_ends_by_itself() -> None:
    with running() as serving:
        pid = serving.process.pid
        held = [proven(serving.address)]
        serving.until("connected: server")
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with_one_client = len(procfs.open_fds(pid))
        # With one client more there is no descriptor for its server.
        limit = with_one_client + PENDING - 1
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, most))
        with contextlib.suppress(Exception):
            while len(held) < PENDING:
                held.append(proven(serving.address))
        serving.until("cannot be started")
        limit = with_one_client + PENDING // 2  # for fewer connections than may be pending
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, most))
        waiting = [connected(serving.address) for _ in range(PENDING)]
        serving.until("cannot accept a connection")
        used_s, begun = procfs.cpu_s(pid), time.monotonic()
        while time.monotonic() - begun < 2.0:
            assert serving.process.poll() is None
        spent = procfs.cpu_s(pid) - used_s
        assert spent / (time.monotonic() - begun) < 0.05
        for sock in [*held, *waiting]:
            sock.close()
        polling.until(lambda: makes_an_env(serving.address), "an env, once the servers of those clients have ended")


def makes_an_env(address: str) -> bool:
    try:
        gym_service.make("CartPole-v1", address=address).close()
    except ServerStartError:
        return False
    return True


def test_a_client_that_is_reset_or_half_closed_leaves_no_server(serving: Serving) -> None:
    for how in ("reset", "half-closed"):
        sock = proven(serving.address)
        pid = int(serving.until("connected: server").rpartition(" ")[2])
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        else:
            sock.shutdown(socket.SHUT_WR)
        serving.until(f"server {pid}, ")
        assert not procfs.state(pid)
        sock.close()
