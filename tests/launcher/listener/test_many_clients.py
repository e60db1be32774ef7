"""Many clients of one gym-service run: all are served separately, and nothing of them is left."""

import signal
import subprocess
import sys
import threading

import pytest
from gym_service_launcher.config import entry as entries
from gym_service_launcher.servers import attached
from gym_service_launcher.servers.stream import SocketEnd
from support import polling, procfs
from support.serving import Serving, rest_of, running

import gym_service
from gym_service.protocol import frames, messages

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

CLIENT = """\
import sys, gym_service
env = gym_service.make("CartPole-v1", address=sys.argv[1])
env.reset(seed=1); print("in", flush=True)
for number in range(10**9):
    if env.step(number % 2)[2]: env.reset(seed=1)
"""


def traces(serving: Serving) -> tuple[int, int]:
    """The server's number of descriptors, and of processes below it."""
    pid = serving.process.pid
    return len(procfs.open_fds(pid)), len(procfs.children(pid))


def come_and_go(serving: Serving, count: int, at_once: int) -> None:
    """Clients that connect and disconnect: after a valid message, after garbage, and without waiting for either."""
    close = b"".join(bytes(piece) for piece in frames.frame_bytes(messages.CLOSE, 1, b""))
    entry = entries.entry("x", {"address": serving.address})

    def work(share: int) -> None:
        for number in range(share):
            link = attached.attach(entry, lambda line: None)
            try:
                end = link.take_stream()
                assert isinstance(end, SocketEnd)
                end.sock.sendall((close, b"no frame at all", b"")[number % 3])
                if number % 3 < 2:  # without this wait, servers would start faster than they can end
                    rest_of(end.sock)
            finally:
                link.close(0.0)

    threads = [threading.Thread(target=work, args=(count // at_once,)) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(count // at_once * at_once):
        serving.until("disconnected after")


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.long)])
def test_clients_that_come_and_go_leave_nothing_and_disturb_nobody(count: int) -> None:
    with running(unix="") as serving:
        env = gym_service.make("CartPole-v1", address=serving.address)
        env.reset(seed=1)
        before, memory_bytes = traces(serving), procfs.memory_bytes(serving.process.pid)
        come_and_go(serving, count, 4)
        polling.until(lambda: traces(serving) == before, f"{traces(serving)} becoming {before}")
        # What the server keeps of each client, if anything, is less than a line of the log.
        assert procfs.memory_bytes(serving.process.pid) - memory_bytes < 4 * 2**20 + 100 * count
        env.step(0)
        env.close()


@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.long)])
def test_many_at_once_are_all_let_in_and_some_are_killed_in_a_step(count: int) -> None:
    """As many as there are, at one moment, over TCP: more than may be unauthenticated at a time."""
    with running() as serving:
        env = gym_service.make("CartPole-v1", address=serving.address)
        before = traces(serving)
        argv = [sys.executable, "-c", CLIENT, serving.address]
        clients = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        try:
            assert [client.stdout.readline() for client in clients if client.stdout] == ["in\n"] * count
            for client in clients[::2]:
                client.kill()
            env.reset(seed=1)
            for number in range(100):
                if env.step(number % 2)[2]:
                    env.reset(seed=1)
            assert all(client.poll() is None for client in clients[1::2])
        finally:
            for client in clients:
                client.kill()
                client.communicate()
        for _ in range(count):
            serving.until("disconnected after")
        polling.until(lambda: traces(serving) == before, f"{traces(serving)} becoming {before}")
        env.close()
        assert serving.end() == -signal.SIGTERM


def test_connections_at_one_moment_are_all_let_in() -> None:
    """Twenty in one process: connections that are rejected because of others retry."""
    with running(sys.executable, "--max-clients", "20") as serving:
        address, failed = serving.address, []

        def come() -> None:
            try:
                attached.attach(entries.entry("x", {"address": address}), lambda line: None).close(0.0)
            except Exception as error:  # noqa: BLE001 -- whatever keeps one out
                failed.append(error)

        threads = [threading.Thread(target=come) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
