"""Listening and connecting over loopback: real clients, and peers that are not clients."""

import contextlib
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gym_service_launcher.listener.listener import MAX_PENDING
from gym_service_launcher.listener.session import CALL_S
from gym_service_launcher.net import handshake, tcp, tokens
from gym_service_launcher.net.handshake import HELLO_BYTES, LIMIT_S, MAGIC, Handshake
from support import polling, procfs
from support.paths import ENVS
from support.serving import AT_ONCE_S, Serving, connected, free_port, read_fifo, rest_of, running, started, venv_with

import gym_service
from gym_service.errors import AuthError, ConnectionLost, EnvError, ServerStartError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a token."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def serving(config_home: Path) -> Iterator[Serving]:
    with running() as server:
        yield server


def cart_pole(serving: Serving, **given: Any) -> gym_service.RemoteEnv:
    return gym_service.make("CartPole-v1", address=serving.address, **given)


def pid_of(env: gym_service.RemoteEnv) -> int:
    return int(env.target["pid"])


class Touch:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int]]:
        return os.mknod, (str(self.path), 0o600)


# -- clients ---------------------------------------------------------------------------------------------------------


def test_each_client_has_a_process_of_its_own(serving: Serving) -> None:
    one, other = cart_pole(serving), cart_pole(serving)
    assert len({pid_of(one), pid_of(other), serving.process.pid}) == 3
    (first, _), (second, _) = one.reset(seed=1), other.reset(seed=1)
    assert np.array_equal(first, second)
    moved = one.step(1)[0]
    assert np.array_equal(other.step(0)[0], other.reset(seed=1)[0]) is False
    assert np.array_equal(other.step(1)[0], moved)
    other.close()
    serving.until(f"disconnected after .* server {pid_of_closed(serving, 2)}, exit code 0")
    one.step(0)
    one.close()


def pid_of_closed(serving: Serving, number: int) -> str:
    """The pid of the ``number``-th server that was started, according to the log."""
    connected_lines = [line for line in serving.lines if "connected: server" in line]
    while len(connected_lines) < number:
        connected_lines.append(serving.until("connected: server"))
    return connected_lines[number - 1].rpartition(" ")[2]


def test_a_client_that_is_killed_in_a_step_leaves_no_server(config_home: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    client = (
        "import sys, gym_service; env = gym_service.make('gym_stuck/Stuck-v0', address=sys.argv[1], "
        "imports=['gym_stuck'], fifo=sys.argv[2]); env.reset(); env.step(0)"
    )
    with running(venv_with(tmp_path / "venv", ENVS / "gym_stuck.py")) as serving:
        with subprocess.Popen([sys.executable, "-c", client, serving.address, str(fifo)]) as process:
            pid = int(serving.until("connected: server").rpartition(" ")[2])
            assert read_fifo(fifo, process) == "in step\n"
            process.kill()
        begun = time.monotonic()
        assert f"killed because it was still in a call {CALL_S:g} s after its client disconnected" in serving.until(
            f"server {pid}, "
        )
        assert time.monotonic() - begun < CALL_S + AT_ONCE_S
        assert not procfs.state(pid)
        cart_pole(serving).close()


def test_a_server_that_dies_is_connection_lost_to_its_client_alone(serving: Serving) -> None:
    env, other = cart_pole(serving), cart_pole(serving)
    for each in (env, other):
        each.reset(seed=1)
    os.kill(pid_of(env), signal.SIGKILL)
    serving.until("killed by SIGKILL")
    with pytest.raises(ConnectionLost) as error:
        env.step(0)
    assert (error.value.during, error.value.address) == ("step", serving.address)  # type: ignore[attr-defined]
    assert str(error.value).startswith(f"the server at {serving.address} is gone")
    other.step(0)
    other.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, -1), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_nothing_is_left_of_one_that_is_stopped(serving: Serving, number: int, code: int) -> None:
    env = cart_pole(serving)
    pid = pid_of(env)
    env.reset()
    assert serving.end(number) == code
    if number != signal.SIGKILL:  # the server was asked to end, and has closed its env
        assert serving.lines[-1].endswith(f"server {pid}, exit code 0")
    else:  # the guardian is a separate process, and needs a moment
        polling.until(lambda: not procfs.state(pid), "the server's end")
    assert not procfs.state(pid)
    with pytest.raises(ConnectionLost):
        env.step(0)
    with pytest.raises(ServerStartError, match="Connection refused"):
        cart_pole(serving, timeouts={"start": 0.1})


IN_ANOTHER_THREAD = """
import signal, sys, threading
from gym_service.cli.main import main

def interrupt():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
sys.exit(main())
"""


def test_a_signal_that_does_not_end_the_poll_is_noticed(config_home: Path) -> None:
    """Like a signal just before poll() begins: Python's handler runs only when the main thread continues."""
    argv = [sys.executable, "-c", IN_ANOTHER_THREAD, "run", "--python", sys.executable, "--tcp", "127.0.0.1:0"]
    with started(argv, stdin=subprocess.PIPE) as serving:
        polling.until_state(serving.process.pid, "S")
        assert serving.process.stdin
        with serving.process.stdin as stdin:
            stdin.write("\n")
        assert serving.process.wait(AT_ONCE_S + 5.0) == 128 + signal.SIGINT


def test_sigterm_waits_for_the_clients_that_are_there(serving: Serving) -> None:
    env = cart_pole(serving)
    env.reset()
    with connected(serving.address) as client:
        assert len(client.recv(HELLO_BYTES, socket.MSG_WAITALL)) == HELLO_BYTES
        serving.process.send_signal(signal.SIGTERM)
        serving.until("shutting down: waiting for 1 client to disconnect")
        assert rest_of(client)[0] == handshake.SERVER_BUSY  # it may try another server
    with pytest.raises(ServerStartError, match="Connection refused"):
        cart_pole(serving, timeouts={"start": 0.1})
    env.step(0)
    env.close()
    assert serving.ended() == -signal.SIGTERM
    assert serving.lines[-1].endswith("exit code 0")


def test_a_second_sigterm_waits_for_nobody(serving: Serving) -> None:
    env = cart_pole(serving)
    env.reset()
    serving.process.send_signal(signal.SIGTERM)
    serving.until("shutting down")
    assert serving.end() == -signal.SIGTERM
    with pytest.raises(ConnectionLost):
        env.step(0)


def test_a_client_does_not_say_what_is_imported(serving: Serving) -> None:
    wishes: list[dict[str, Any]] = [
        *({"imports": [name]} for name in ("os", "gymnasium", "gym_pusht.envs", "gym-pusht", "gym_pusht\n", "gym_")),
        {"entry_point": "os:getcwd"},
        {"wrappers": ["os:getcwd"]},
        {"wrappers": [lambda env: env]},
        {"id": "os:CartPole-v1"},
    ]
    for wish in wishes:
        with pytest.raises(EnvError) as error:
            cart_pole(serving, **wish)
        assert "this server is not the client's own" in str(error.value)
        assert "cloudpickle" not in str(error.value)
    with pytest.raises(ServerStartError, match="No module named 'gym_nothing'"):
        cart_pole(serving, imports=["gym_nothing"])


def test_a_client_has_no_function_called(serving: Serving) -> None:
    env = cart_pole(serving)
    for function in ("os:getcwd", lambda env: 1):
        with pytest.raises(EnvError, match="this server is not the client's own"):
            env.call(function)
    env.reset()
    env.close()


# -- pending clients -------------------------------------------------------------------------------------------------


def test_what_is_no_handshake_is_closed_at_once_and_runs_nothing(serving: Serving, tmp_path: Path) -> None:
    made = tmp_path / "made by a pickle"
    pickled = pickle.dumps(Touch(made))
    for content in (
        pickled,
        len(pickled).to_bytes(4, "big") + pickled,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes.fromhex("1603010200010001fc0303") + os.urandom(500),
        b"gS\x01\x01" + b"\xff" * 12,
        bytes(1 << 20),
    ):
        with connected(serving.address) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # closed before everything was sent
                sock.sendall(content)
            received, took_s = rest_of(sock)
        assert took_s < AT_ONCE_S
        assert len(received) <= HELLO_BYTES
        assert "rejected: the other side is not a client" in serving.until("rejected| connected:")
    assert not made.exists()
    pickle.loads(pickled)
    assert made.exists()
    cart_pole(serving).close()


def test_one_wrong_byte_is_enough(serving: Serving) -> None:
    with connected(serving.address) as sock:
        sock.sendall(MAGIC["client"][:-1])
        assert len(sock.recv(HELLO_BYTES, socket.MSG_WAITALL)) == HELLO_BYTES
        sock.sendall(b"?")
        assert rest_of(sock)[1] < AT_ONCE_S


def test_another_token_is_an_error_on_both_sides(serving: Serving, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tokens.read_or_make(other)
    with pytest.raises(AuthError) as error:
        cart_pole(serving, token_file=other)
    assert str(error.value).startswith(f"{serving.address}: the server disconnected during authentication")
    assert f"token: the token file {other}" in str(error.value)
    assert "rejected: the client has another token" in serving.until("rejected| connected:")


def test_without_a_token_here_nothing_is_proven(serving: Serving, tmp_path: Path) -> None:
    with pytest.raises(AuthError, match=r"token file .*/none does not exist"):
        cart_pole(serving, token_file=tmp_path / "none")
    cart_pole(serving).close()
    assert not [line for line in serving.lines if "rejected" in line]


def test_the_tokens_are_shown_nowhere(serving: Serving, config_home: Path, tmp_path: Path) -> None:
    tokens.read_or_make(tmp_path / "other")
    env = cart_pole(serving)
    with pytest.raises(AuthError) as error:
        cart_pole(serving, token_file=tmp_path / "other")
    shown = [f"{error.value!r}{error.getrepr(showlocals=True)}"]
    for pid in (serving.process.pid, pid_of(env)):
        shown += [procfs.command_line(pid), b"\n".join(procfs.environment(pid)).decode()]
    assert all(shown)
    env.close()
    serving.end()
    shown += serving.lines
    for file in (config_home / "gym-service/token", tmp_path / "other"):
        assert file.read_text().strip() not in "\n".join(shown)


def test_who_says_nothing_holds_nobody_up_and_is_closed(serving: Serving) -> None:
    with connected(serving.address) as silent:
        ends: list[tuple[bytes, float]] = []
        listening = threading.Thread(target=lambda: ends.append(rest_of(silent)))
        listening.start()
        env = cart_pole(serving)
        env.reset()
        env.close()
        listening.join()
        [(received, took_s)] = ends
        assert took_s > LIMIT_S - 0.5
        assert received[HELLO_BYTES:] == handshake.SERVER_BUSY  # the client may retry: its machine may have been busy
    serving.until("rejected: the handshake took more than 5 s")


def test_a_crowd_of_pending_clients_does_not_keep_a_client_out(serving: Serving) -> None:
    crowd = [connected(serving.address) for _ in range(MAX_PENDING)]
    for sock in crowd:
        assert len(sock.recv(HELLO_BYTES, socket.MSG_WAITALL)) == HELLO_BYTES
    begun = time.monotonic()
    env = cart_pole(serving)
    assert rest_of(crowd[0])[0] == handshake.SERVER_BUSY  # the oldest connection is closed, and told to retry
    assert time.monotonic() - begun < LIMIT_S
    crowd[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        crowd[1].recv(1)
    env.close()
    for sock in crowd:
        sock.close()


# -- dialling --------------------------------------------------------------------------------------------------------


def test_a_server_that_begins_to_listen_later_is_waited_for(
    config_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gym_service")
    port = free_port()
    made: list[gym_service.RemoteEnv] = []
    dialling = threading.Thread(
        target=lambda: made.append(gym_service.make("CartPole-v1", address=f"tcp://127.0.0.1:{port}"))
    )
    dialling.start()
    polling.until(lambda: any("no server at" in line for line in caplog.messages), "a line in the log")
    with running(tcp=f"127.0.0.1:{port}"):
        dialling.join()
        made[0].reset()
        made[0].close()


def test_nobody_listens() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ServerStartError) as error:
        gym_service.make("CartPole-v1", address=address, timeouts={"start": 0.2})
    assert str(error.value) == (
        f"no server was reached at {address}: Connection refused, for 0.2 s\n"
        f"  try: gym-service run --venv ./sim_env --tcp {address.removeprefix('tcp://')}"
    )
    with pytest.raises(ServerStartError, match="No such file or directory"):
        gym_service.make("CartPole-v1", address="unix:///nowhere/socket", timeouts={"start": 0.2})
    with pytest.raises(ServerStartError, match="there is no such host"):
        gym_service.make("CartPole-v1", address="tcp://no.such.host.invalid:1")


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a server of this version of gym-service: its first"),
        (MAGIC["server"] + bytes(64), "the server has another token"),
        (b"", "disconnected before it identified itself"),
        (None, "the handshake took more than 0.5 s"),
    ],
)
def test_what_listens_is_no_server(says: bytes | None, reason: str) -> None:
    tokens.read_or_make(tokens.usual_file())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[socket.socket] = []

        def answer() -> None:
            accepted.append(listening.accept()[0])
            if says is not None:
                accepted[0].sendall(says)
                accepted[0].shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer)
        thread.start()
        address = tcp.address(*listening.getsockname())
        with pytest.raises(AuthError) as error:
            gym_service.make("CartPole-v1", address=address, timeouts={"start": 0.5})
        thread.join()
        accepted[0].close()
    assert reason in str(error.value)


def test_perform_reads_no_byte_too_many() -> None:
    token = tokens.read_or_make(tokens.usual_file())
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def serve() -> None:
            handshake.perform(theirs, Handshake("server", token))
            theirs.sendall(b"a frame")

        thread = threading.Thread(target=serve)
        thread.start()
        handshake.perform(ours, Handshake("client", token))
        thread.join()
        assert ours.recv(100) == b"a frame"


# -- binding ---------------------------------------------------------------------------------------------------------
