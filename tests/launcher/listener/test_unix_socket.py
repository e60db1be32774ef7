"""gym-service run on a Unix socket: its path, which users may connect, and which leftover sockets are replaced."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gym_service_launcher.net import handshake, unix
from support import procfs
from support.serving import AT_ONCE_S, COMMAND, TIMEOUT_S, connected, rest_of, running

import gym_service
from gym_service.errors import AuthError, ConfigError, ServerStartError

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name so short that a socket's path fits."""
    with tempfile.TemporaryDirectory(prefix="unix-") as name:
        yield Path(name)


def test_it_lies_in_the_run_time_folder_and_goes_with_its_server(runtime_dir: Path) -> None:
    with running(unix="") as serving:
        path = Path(serving.address.removeprefix("unix://"))
        assert path == unix.usual_path(Path(sys.executable))
        assert path.parent == runtime_dir
        assert stat.S_IMODE(runtime_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        env = gym_service.make("CartPole-v1", address=serving.address)
        env.reset(seed=1)
        env.step(0)
        serving.until(rf"^\S+ process {os.getpid()} made CartPole-v1: server {env.target['pid']}$")
        env.close()
        assert "CartPole-v1, 1 step, server" in serving.until("disconnected after .* exit code 0")
        assert serving.end() == -signal.SIGTERM
        assert not path.exists()
        assert not list(path.parent.glob("*.sock"))


def test_a_run_time_folder_that_others_may_look_into_is_closed_to_them(runtime_dir: Path) -> None:
    runtime_dir.mkdir(mode=0o755)
    unix.bind(runtime_dir / "s").close()
    assert stat.S_IMODE(runtime_dir.stat().st_mode) == 0o700


def test_a_live_one_is_never_stolen(folder: Path) -> None:
    path = folder / "deep" / "socket"
    with running(unix=path) as serving:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        argv = [*COMMAND, "run", "--python", sys.executable, "--unix", str(path)]
        second = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
        assert second.returncode == 2
        assert f"a server already listens at unix://{path}" in second.stderr
        gym_service.make("CartPole-v1", address=serving.address).close()


def test_what_a_dead_one_has_left_is_replaced(folder: Path) -> None:
    path = folder / "socket"
    with running(unix=path) as serving:
        assert serving.end(signal.SIGKILL) == -signal.SIGKILL
    left = path.stat()
    with running(unix=path) as serving:
        assert (path.stat().st_ino, path.stat().st_ctime_ns) != (left.st_ino, left.st_ctime_ns)
        gym_service.make("CartPole-v1", address=serving.address).close()


def test_servers_that_start_at_once_agree_on_one(folder: Path) -> None:
    """Each of them finds a dead server's socket. None may remove a socket that another one has just bound."""
    path = folder / "socket"
    left = unix.bind(path)
    left.close()
    program = (
        "import sys, pathlib; from gym_service_launcher.net import unix; print(flush=True); sys.stdin.readline()\n"
        "try: held = unix.bind(pathlib.Path(sys.argv[1])); print('bound', flush=True); sys.stdin.readline()\n"
        "except Exception as error: print(error, flush=True)"
    )
    argv = [sys.executable, "-c", program, str(path)]
    racers = [subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdout
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = [racer.stdout.readline() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate("\n")
    assert sorted(line == "bound\n" for line in said) == [False, False, False, True], said
    assert all("already" in line for line in said if line != "bound\n")


def test_what_is_no_socket_is_left_alone(folder: Path) -> None:
    target, link, file = folder / "target", folder / "link", folder / "file"
    unix.bind(target).close()
    link.symlink_to(target)
    file.write_text("precious")
    for path, what in ((link, "a symbolic link"), (file, "not a socket")):
        with pytest.raises(ConfigError, match=f"exists and is {what}"):
            unix.bind(path)
    assert link.is_symlink()
    assert target.exists()
    assert file.read_text() == "precious"


def test_a_folder_that_others_may_write_to_is_refused(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match=r"can be written by other users \(mode 0777\)\n  try: chmod 700"):
        unix.bind(folder / "socket")
    with pytest.raises(ConfigError, match=r"is longer than 10[37] bytes"):
        unix.bind(folder / ("long" * 30))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_is_refused_on_both_sides(folder: Path) -> None:
    with running(unix=folder / "socket") as serving:
        # The modes would allow it; the peer's user id is what excludes it.
        for way in (folder, folder.parent):
            way.chmod(0o755)
        (folder / "socket").chmod(0o666)
        program = (
            "import os, socket, sys; sock = socket.socket(socket.AF_UNIX); os.setgroups([])\n"
            "os.setresuid(int(sys.argv[2]), int(sys.argv[2]), int(sys.argv[2]))\n"
            "sock.connect(sys.argv[1]); print(len(sock.recv(100)))"
        )
        argv = [sys.executable, "-c", program, str(folder / "socket"), str(NOBODY)]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "0\n"
        assert f"rejected: it belongs to user {NOBODY}, and this server to user 0" in serving.until(
            "rejected| connected:"
        )

    listening = (
        "import os, socket, sys; os.setresuid(*[int(sys.argv[2])] * 3)\n"
        "sock = socket.socket(socket.AF_UNIX); sock.bind(sys.argv[1]); sock.listen(); print(flush=True)\n"
        "sock.accept()[0].recv(1)"
    )
    folder.chmod(0o777)
    argv = [sys.executable, "-c", listening, str(folder / "theirs"), str(NOBODY)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(AuthError, match=f"that server belongs to user {NOBODY}, and this client to user 0"):
            gym_service.make("CartPole-v1", address=f"unix://{folder}/theirs")


def test_what_is_no_client_is_refused_there_too(folder: Path) -> None:
    with running(unix=folder / "socket") as serving:
        with connected(serving.address) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            received, took_s = rest_of(sock)
        assert len(received) <= handshake.HELLO_BYTES
        assert took_s < AT_ONCE_S
        assert "the other side is not a client" in serving.until("rejected| connected:")


def test_a_server_that_dies_while_the_client_waits(folder: Path) -> None:
    with running(unix=folder / "socket") as serving:
        env = gym_service.make("CartPole-v1", address=serving.address)
        pid = env.target["pid"]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(gym_service.errors.ConnectionLost):
            env.reset()
        serving.until("killed by SIGKILL")
        assert not procfs.state(pid)


def test_nobody_listens(folder: Path) -> None:
    address = f"unix://{folder}/socket"
    for left in (False, True):
        if left:
            unix.bind(folder / "socket").close()
        with pytest.raises(ServerStartError) as error:
            gym_service.make("CartPole-v1", address=address, timeouts={"start": 0.1})
        assert f"gym-service run --venv ./sim_env --unix {folder}/socket" in str(error.value)


def test_it_ends_without_taking_the_socket_of_another(folder: Path) -> None:
    path = folder / "socket"
    with running(unix=path) as serving:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other, contextlib.suppress(OSError):
            other.bind(str(path))
            serving.end()
            assert path.exists()
