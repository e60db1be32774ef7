"""TCP with TLS: real clients, real certificates, and a peer in between."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gym_service_launcher.listener.tls_relay import PIECE_BYTES, Relay
from gym_service_launcher.net import handshake, tls, tokens
from support.paths import ENVS
from support.serving import AT_ONCE_S, COMMAND, TIMEOUT_S, Certified, Serving, certified, connected, rest_of, running

import gym_service
from gym_service.errors import AuthError, CallTimeout, ConfigError, ConnectionLost

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


@pytest.fixture
def serving(own: Certified) -> Iterator[Serving]:
    with running(sys.executable, *own.options(), "--allow-import", "--pythonpath", ENVS) as server:
        yield server


def made(serving: Serving, env_id: str = "CartPole-v1", **given: Any) -> gym_service.RemoteEnv:
    return gym_service.make(env_id, address=serving.address, **given)


# -- envs ------------------------------------------------------------------------------------------------------------


def test_the_same_numbers_and_pictures(serving: Serving, own: Certified) -> None:
    local = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env = made(serving, tls_sha256=own.sha256, render_mode="rgb_array")
    assert np.array_equal(env.reset(seed=3)[0], local.reset(seed=3)[0])
    for action in (0, 1, 1):
        assert np.array_equal(env.step(action)[0], local.step(action)[0])
    for _ in range(3):
        assert np.array_equal(env.render(), local.render())
    env.close()
    local.close()
    assert "CartPole-v1, 3 steps" in serving.until("disconnected after .* exit code 0")


def test_much_in_both_directions_and_the_deadlines_of_silence_and_of_sending(serving: Serving, own: Certified) -> None:
    faulty = {"entry_point": "faulty:FaultyEnv", "tls_sha256": own.sha256}
    env = made(serving, "Faulty", **faulty, timeouts={"call": 60.0})
    big = np.arange(9 * 2**20, dtype=np.uint8)
    assert env.call("measure", big) == big.nbytes
    env.close()
    stepping, sending = (made(serving, "Faulty", **faulty, timeouts={"step": 0.5, "call": 0.5}) for _ in "12")
    stepping.reset()
    action = stepping.action_space.sample()
    for env, call in ((stepping, partial(stepping.step, action)), (sending, partial(sending.call, "measure", big))):
        os.kill(env.target["pid"], signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(CallTimeout):
            call()
        assert time.monotonic() - begun >= 0.5
        env.close()
    for _ in (stepping, sending):
        # A stopped server sees no end of the stream. The guardian, which knows that the client has ended, kills it.
        serving.until("killed because it was still running 5 s after its client disconnected")


def test_a_server_that_dies_and_a_client_that_is_killed(serving: Serving, own: Certified) -> None:
    env = made(serving, tls_sha256=own.sha256)
    os.kill(env.target["pid"], signal.SIGKILL)
    with pytest.raises(ConnectionLost):
        env.reset()
    serving.until("killed by SIGKILL")
    program = (
        "import sys, gym_service; env = gym_service.make('CartPole-v1', address=sys.argv[1], tls_sha256=sys.argv[2])"
    )
    program += "\nprint(env.target['pid'], flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, serving.address, own.sha256]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout
        pid = process.stdout.readline().strip()
        process.kill()
    serving.until(rf"server {pid}, exit code 0")


# -- certificates ----------------------------------------------------------------------------------------------------


@contextmanager
def showing(certificate: Certified, **given: Any) -> Iterator[str]:
    """A server that presents a certificate and then serves one client; yields the address."""
    tokens.read_or_make(tokens.usual_file())
    listening = socket.create_server(("127.0.0.1", 0))
    shown = tls.Certificate(certificate.cert, certificate.key)
    heard: list[bytes] = []

    def listen() -> None:
        accepted, _ = listening.accept()
        # The client may have disconnected already. It always does after it has seen a certificate that it rejects.
        with contextlib.suppress(OSError), accepted, shown.wrap(accepted) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.do_handshake()
            heard.append(sock.recv(100))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield f"tcp://localhost:{listening.getsockname()[1]}"
    finally:
        thread.join()
        listening.close()
    assert not any(heard), "the client sent data to a server that it does not know"


def test_the_client_speaks_to_no_other_certificate(own: Certified, tmp_path: Path) -> None:
    other = certified(tmp_path, "other")
    wanted = own.sha256.rpartition("=")[2].replace(":", "").lower()
    with showing(other) as address, pytest.raises(AuthError) as error:
        gym_service.make("CartPole-v1", address=address, tls_sha256=own.sha256)
    assert f"but tls_sha256 is {wanted}" in str(error.value)
    assert other.sha256.rpartition("=")[2].replace(":", "").lower() in str(error.value)
    with (
        showing(other) as address,
        pytest.raises(AuthError, match=r"cannot be verified: self-signed certificate\n  try"),
    ):
        gym_service.make("CartPole-v1", address=address, tls_ca=own.cert)
    # A self-signed certificate is accepted, but not for another name.
    mismatch = r"cannot be verified: Hostname mismatch.*\n  try: address = a name that the certificate is for"
    with showing(other) as address, pytest.raises(AuthError, match=mismatch):
        gym_service.make("CartPole-v1", address=address, tls_ca=other.cert)
    with showing(other) as address, pytest.raises(ConfigError, match=r"tls_ca: .*[Nn]o such file"):
        gym_service.make("CartPole-v1", address=address, tls_ca=tmp_path / "none")


def dated(folder: Path, name: str, first: str, last: str) -> Certified:
    """A self-signed certificate for localhost that is valid between two dates."""
    own = certified(folder, name)
    request, config = folder / f"{name}.csr", folder / f"{name}.cnf"
    (folder / f"{name}.index").touch()
    config.write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={folder}/{name}.index\nnew_certs_dir={folder}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
    )
    run = partial(subprocess.run, check=True, capture_output=True)
    run(["openssl", "req", "-new", "-key", str(own.key), "-subj", "/CN=localhost", "-out", str(request)])
    sign = ["openssl", "ca", "-batch", "-selfsign", "-notext", "-config", str(config), "-keyfile", str(own.key)]
    run([*sign, "-in", str(request), "-out", str(own.cert), "-startdate", first, "-enddate", last])
    return own


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("20200101000000Z", "20210101000000Z", "certificate has expired"),
        ("20600101000000Z", "20610101000000Z", "certificate is not yet valid"),
        ("20200101000000Z", "20610101000000Z", ""),
    ],
)
def test_a_certificate_counts_between_its_dates(first: str, last: str, said: str, tmp_path: Path) -> None:
    own = dated(tmp_path, "dated", first, last)
    if said:
        advice = "a new certificate at that server, if the clocks of both machines are right"
        with showing(own) as address, pytest.raises(AuthError, match=rf"verified: {said}\n  try: {advice}"):
            gym_service.make("CartPole-v1", address=address, tls_ca=own.cert)
    else:
        with running(sys.executable, *own.options()) as serving:
            made(serving, tls_ca=own.cert).close()


def test_a_certificate_that_a_ca_answers_for(tmp_path: Path) -> None:
    named = certified(tmp_path, "named", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    with running(sys.executable, *named.options()) as serving:
        env = made(serving, tls_ca=named.cert)
        env.reset()
        env.close()


def test_each_side_says_that_the_other_has_no_tls(serving: Serving, own: Certified) -> None:
    with pytest.raises(AuthError, match="tls_sha256 = …, if it prints one"):
        made(serving)
    assert "rejected: the TLS handshake failed: " in serving.until("rejected| connected:")
    with connected(serving.address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert rest_of(sock)[1] < AT_ONCE_S
    assert "HTTP_REQUEST" in serving.until("rejected| connected:")
    with pytest.raises(AuthError, match="but tls_sha256 is"):
        made(serving, tls_sha256="ab" * 32)
    # The server may have finished its half of the handshake by then.
    other = "the TLS handshake failed: it disconnected, as a client does that expects another certificate"
    serving.until(f"rejected: ({other}|the client disconnected before it identified itself)")
    with (
        running() as plain,
        pytest.raises(AuthError, match="remove tls_sha256 and tls_ca, if that server does not use TLS"),
    ):
        made(plain, tls_sha256=own.sha256)


def test_older_tls_is_refused(serving: Serving) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with connected(serving.address) as sock, pytest.raises(ssl.SSLError, match=r"(?i)protocol|version|alert"):
        context.wrap_socket(sock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(serving.address) as sock, context.wrap_socket(sock) as secured:
        assert secured.version() == "TLSv1.2"


def test_the_handshake_is_made_once(serving: Serving) -> None:
    """A pending client cannot renegotiate: TLS 1.2 refuses that here, and TLS 1.3 has no renegotiation."""
    argv = ["openssl", "s_client", "-tls1_2", "-connect", serving.address.removeprefix("tcp://")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        assert client.stdout is not None
        shown = b""
        while handshake.MAGIC["server"] not in shown:  # nothing may arrive in the middle of what follows
            shown += (read := client.stdout.read1())
            assert read, shown
        assert b"no renegotiation" in client.communicate(b"R\n", TIMEOUT_S)[1]
    serving.until("rejected")


def test_what_is_no_certificate(own: Certified, tmp_path: Path) -> None:
    other = certified(tmp_path, "other")
    open_key, garbage, locked = tmp_path / "open.pem", tmp_path / "garbage.pem", tmp_path / "locked.pem"
    open_key.write_bytes(own.key.read_bytes())
    open_key.chmod(0o644)
    garbage.write_text("garbage")
    garbage.chmod(0o600)
    lock = ["openssl", "pkey", "-in", str(own.key), "-aes128", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True)
    for cert, key, reason in (
        (tmp_path / "none", None, "does not exist or cannot be read\n  try: openssl req"),
        (own.cert, open_key, "contains a private key that every user can read\n  try: chmod 600"),
        (garbage, None, "is not a certificate with its key"),
        (own.cert, other.key, "are not a certificate and its key"),
        (own.cert, locked, "is encrypted with a password"),
    ):
        with pytest.raises(ConfigError) as error:
            tls.Certificate(cert, key)
        assert reason in str(error.value)


def test_off_loopback_there_is_tls_or_a_word(own: Certified) -> None:
    argv = [*COMMAND, "run", "--python", sys.executable, "--tcp", "0.0.0.0:0"]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "can be reached from other machines" in refused.stderr
    for options in (own.options(), ("--insecure",)):
        with running(sys.executable, *options, tcp="0.0.0.0:0") as serving:
            assert serving.address == f"tcp://{socket.gethostname()}:{serving.port}"
            address = f"tcp://127.0.0.1:{serving.port}"
            if options == ("--insecure",):
                gym_service.make("CartPole-v1", address=address).close()


# -- the relay, alone ------------------------------------------------------------------------------------------------


class Relayed:
    """A relay with both of its ends in this process: the client's with TLS, the server's without."""

    def __init__(self, certificate: Certified) -> None:
        outside, inside = socket.socketpair()
        self.server, plain = socket.socketpair()
        secured = tls.Certificate(certificate.cert, certificate.key).wrap(inside)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        shaking = threading.Thread(target=secured.do_handshake)
        shaking.start()
        self.client = context.wrap_socket(outside)
        shaking.join()
        self.relay = Relay(secured, plain)
        for sock in (self.client, self.server):
            sock.settimeout(TIMEOUT_S)


@pytest.fixture
def relayed(own: Certified) -> Iterator[Relayed]:
    made = Relayed(own)
    yield made
    made.relay.stop()
    made.client.close()
    made.server.close()


def received(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    with contextlib.suppress(ssl.SSLZeroReturnError):  # the end of the stream, if this side has ended its own before
        while len(data) < size and (piece := sock.recv(65536)):
            data += piece
    return bytes(data)


def filled(sock: socket.socket) -> int:
    """Send until the socket accepts no more. Returns the number of bytes."""
    sock.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 64 * PIECE_BYTES:
            sent += sock.send(bytes(65536))
    return sent


def test_a_relay_carries_all_of_it_both_ways_at_once(relayed: Relayed) -> None:
    there, back = os.urandom(3 * PIECE_BYTES + 7), os.urandom(5 * PIECE_BYTES + 1)
    senders = [
        threading.Thread(target=relayed.client.sendall, args=(there,)),
        threading.Thread(target=relayed.server.sendall, args=(back,)),
    ]
    senders[1].start()
    assert received(relayed.client, len(back)) == back
    senders[0].start()
    assert received(relayed.server, len(there)) == there
    for sender in senders:
        sender.join()


def test_a_relay_does_not_read_for_who_does_not(relayed: Relayed) -> None:
    """Unread data fills two chunks and the kernel's buffers; then the sender waits."""
    for sender in (relayed.client, relayed.server):
        assert filled(sender) < 16 * PIECE_BYTES
    relayed.client.settimeout(TIMEOUT_S)
    assert relayed.client.recv(1)


def test_a_relay_passes_on_the_end_of_one_direction_and_leaves_the_other(relayed: Relayed) -> None:
    relayed.client.sendall(b"last words")
    relayed.client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):  # it has sent its end, and waits for the other side's
        relayed.client.unwrap()
    relayed.client.settimeout(TIMEOUT_S)
    assert received(relayed.server, 100) == b"last words"
    relayed.server.sendall(b"answer")
    assert received(relayed.client, 6) == b"answer"
    relayed.server.sendall(b"last answer")
    relayed.server.close()
    assert received(relayed.client, 100) == b"last answer"
    relayed.relay._thread.join(TIMEOUT_S)
    assert not relayed.relay.is_running


def test_a_relay_waits_for_a_client_that_reads_no_longer_but_a_moment(relayed: Relayed) -> None:
    filled(relayed.server)
    relayed.server.close()
    relayed.relay._thread.join(TIMEOUT_S)
    assert not relayed.relay.is_running


def test_a_relay_ends_where_its_client_is_reset(relayed: Relayed) -> None:
    relayed.client.close()
    assert relayed.server.recv(1) == b""
    relayed.server.close()
    relayed.relay._thread.join(TIMEOUT_S)
    assert not relayed.relay.is_running
