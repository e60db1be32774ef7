"""gym-service run: its options, and its messages to the operator."""

import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.net import tokens
from gym_service_launcher.processes import pidfiles
from gym_service_launcher.standalone import env_vars
from support import polling, procfs
from support.paths import ENVS
from support.serving import COMMAND, TIMEOUT_S, Serving, running

import gym_service
from gym_service.errors import AuthError, ConnectionLost, EnvError, ServerStartError
from gym_service.server.loop import EXIT_FORKED

TOKEN = bytes(range(32)).hex()


def made(serving: Serving, env_id: str = "CartPole-v1", **given: Any) -> gym_service.RemoteEnv:
    return gym_service.make(env_id, address=serving.address, **given)


# -- what may be made ------------------------------------------------------------------------------------------------


def test_the_ids_that_were_named_and_no_others() -> None:
    with running(sys.executable, "camera_env:Camera-v0", "--pythonpath", ENVS, unix="") as serving:
        made(serving, "Camera-v0").close()
        with pytest.raises(EnvError, match="It makes camera_env:Camera-v0"):
            made(serving, "CartPole-v1")


def test_what_clients_name_is_imported_where_that_is_allowed_and_what_they_pickle_is_not() -> None:
    with running(sys.executable, "--allow-import", "--pythonpath", ENVS, unix="") as serving:
        env = made(serving, "Faulty", entry_point="faulty:FaultyEnv")
        assert env.call("builtins:callable") is False
        with pytest.raises(EnvError, match="that a client has pickled: this server is not the client's own"):
            env.call(lambda env: env)
        env.close()


# -- how many, and for how long --------------------------------------------------------------------------------------


def test_no_more_than_so_many_and_who_waits_gets_the_next_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gym_service")
    with running(sys.executable, "--max-clients", "1") as serving:
        first = made(serving)
        with pytest.raises(ServerStartError, match=r"it is at its client limit, for 0\.3 s"):
            made(serving, timeouts={"start": 0.3})
        waiting: list[gym_service.RemoteEnv] = []
        thread = threading.Thread(target=lambda: waiting.append(made(serving)))
        thread.start()
        tried = "it is at its client limit): trying for 120 s"
        polling.until(lambda: any(tried in line for line in caplog.messages), "a line in the log")
        assert not waiting
        first.reset()
        first.close()
        thread.join()
        waiting[0].reset()
        waiting[0].close()
        serving.end()
        assert sum("at --max-clients (1): new clients are told to retry" in line for line in serving.lines) == 1


def test_who_asks_for_nothing_is_hung_up_on_and_who_waits_for_an_answer_is_not() -> None:
    with running(sys.executable, "--allow-import", "--pythonpath", ENVS, "--idle-timeout", "3", unix="") as serving:
        busy = made(serving, "Faulty", entry_point="faulty:FaultyEnv")
        busy.reset()
        busy.call("slow_down", 6.0)
        stepped: list[Any] = []
        action = busy.action_space.sample()
        stepping = threading.Thread(target=lambda: stepped.append(busy.step(action)))
        stepping.start()
        idle = made(serving)
        serving.until(r"disconnected: idle for \d+ s")
        with pytest.raises(ConnectionLost):
            idle.reset()
        stepping.join()
        assert len(stepped) == 1
        busy.close()


def test_nor_is_it_after_a_child_of_its_simulator_has_come_back_to_a_call_or_exited_in_one() -> None:
    """The child must not count the call as answered: its parent answers it."""
    given = {"entry_point": "forking_images:ForkingImagesEnv", "kwargs": {"by": "os"}}
    with running(sys.executable, "--allow-import", "--pythonpath", ENVS, "--idle-timeout", "3", unix="") as serving:
        env = made(serving, "Forking", **given)
        env.reset()
        for action in (20, 21):  # in the general way: a child that comes back, and a usual step
            assert (env.step(action, further=1)[0] == action).all()
        assert env.call("let_child_return") == EXIT_FORKED
        for action in (1, 22, 2, 22, 3, 23, 4):  # 22: a child exits; 23: a step of 4 s
            assert (env.step(action)[0] == action).all()
        env.close()


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_the_token_may_come_from_a_file_the_environment_or_a_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config_home: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    reading = os.open(file, os.O_RDONLY)
    ways: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("--token-file", str(file)), {}),
        ((), {"environ": {env_vars.TOKEN: TOKEN}}),
        (("--token-fd", str(reading)), {"pass_fds": [reading]}),
    ]
    for options, given in ways:
        with running(sys.executable, *options, **given) as serving:
            made(serving, token_file=file).close()
            with monkeypatch.context() as patch:
                patch.setenv(env_vars.TOKEN, TOKEN)
                env = made(serving)
            # Neither the environment of a simulator nor any command line contains a secret.
            pid = env.target["pid"]
            guardian = procfs.guardian_of(serving.process.pid)
            for process in (pid, guardian):
                assert procfs.environment(process)
                assert TOKEN.encode() not in b"".join(procfs.environment(process))
                assert procfs.argv(process)
                assert TOKEN.encode() not in procfs.argv(process)
            assert TOKEN.encode() not in procfs.argv(serving.process.pid)
            env.close()
            with monkeypatch.context() as patch:
                patch.setenv(env_vars.TOKEN, TOKEN[2:])
                with pytest.raises(AuthError, match=r"token: \$GYM_SERVICE_TOKEN"):
                    made(serving)
            serving.end()
            assert TOKEN not in "\n".join(serving.lines)
    os.close(reading)
    assert not (config_home / "gym-service").exists()


@pytest.mark.parametrize("secret", ["", "\n", "00" * 15])
def test_without_a_token_worth_its_name_nothing_listens(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "token"
    file.write_text(secret)
    file.chmod(0o600)
    with file.open() as opened:
        fd = opened.fileno()
        for options, environ in (
            (["--token-file", str(file)], {}),
            (["--token-fd", str(fd)], {}),
            ([], {env_vars.TOKEN: secret}),
        ):
            argv = [*COMMAND, "run", "--python", sys.executable, "--tcp", "127.0.0.1:0", *options]
            ran = subprocess.run(
                argv, env=os.environ | environ, pass_fds=[fd], capture_output=True, text=True, timeout=TIMEOUT_S
            )
            assert (ran.returncode, ran.stdout) == (2, "")
            assert re.search(r"has (0|15) bytes; a token has 16 or more", ran.stderr)
            assert "00" * 15 not in ran.stderr


def test_a_client_with_an_empty_variable_looks_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.read_or_make(tokens.usual_file())
    monkeypatch.setenv(env_vars.TOKEN, "")
    with pytest.raises(AuthError, match=r"\$GYM_SERVICE_TOKEN has 0 bytes"):
        tokens.of_client(None)


def test_the_command_that_makes_one(tmp_path: Path) -> None:
    for arguments, file in (((), tokens.usual_file()), ((str(tmp_path / "own"),), tmp_path / "own")):
        first, second = (
            subprocess.run([*COMMAND, "token", *arguments], capture_output=True, text=True, check=True) for _ in "12"
        )
        assert first.stdout == second.stdout == f"{file}\n"
        assert "created with mode 0600" in first.stderr
        assert "already existed" in second.stderr
        assert file.read_text().strip() not in first.stdout + first.stderr
        tokens.read(file)


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_ps_shows_the_servers_of_its_clients() -> None:
    with running(unix="") as serving:
        env = made(serving)
        env.reset()
        for _ in range(5):
            env.step(0)
        serving.until("made CartPole-v1")
        env.reset()
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            [server] = [server for server in pidfiles.list_servers() if not server.is_listener]
            if server.calls >= 8:
                break
            assert time.monotonic() < deadline
        assert (server.name, server.pid, server.client_pid) == ("CartPole-v1", env.target["pid"], serving.process.pid)
        env.close()
    assert not pidfiles.list_servers()


@pytest.mark.slow  # needs Gymnasium 1.0
def test_vector_envs_count_the_steps_of_each_env() -> None:
    with running(unix="") as serving:
        envs = gym_service.make_vec("CartPole-v1", 4, address=serving.address, workers=2)
        envs.reset(seed=1)
        for _ in range(3):
            envs.step(envs.action_space.sample())
        envs.close()
        for _ in range(2):
            assert "CartPole-v1, 6 steps, server" in serving.until("disconnected after")


@contextmanager
def in_terminal(*options: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    main, theirs = pty.openpty()
    argv = [*COMMAND, "run", "--python", sys.executable, *options]
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environ) as ran:
        os.close(theirs)
        try:
            yield ran, main
        finally:
            ran.kill()
            os.close(main)


def until(terminal: int, pattern: str, written: str = "") -> str:
    """The output until the pattern is in it, without colours and cursor movements."""
    deadline = time.monotonic() + TIMEOUT_S
    while not re.search(pattern, written):
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], written
        written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written + os.read(terminal, 65536).decode(errors="replace"))
    return written


def test_in_a_terminal_there_is_a_view_that_lives() -> None:
    with in_terminal() as (ran, terminal):
        written = until(terminal, "0 clients")
        address = re.search(r"unix://\S+\.sock", written)
        assert address
        # Text that the user should copy is neither folded nor coloured inside.
        assert f'env = gym_service.make("CartPole-v1", address="{address[0]}")' in written
        assert f'address = "{address[0]}"' in written
        env = gym_service.make("CartPole-v1", address=address[0])
        env.reset()
        for number in range(1500):
            if env.step(number % 2)[2]:
                env.reset()
        row = rf"process {os.getpid()} +CartPole-v1 +\d+ s +1,500 +\d+ +\d+ MiB"
        until(terminal, row)
        ran.send_signal(signal.SIGTERM)
        until(terminal, "1 client  shutting down; a second SIGTERM stops all servers")
        env.step(0)
        env.close()
        until(terminal, "CartPole-v1, 1,501 steps, server .* exit code 0")
        assert ran.wait(TIMEOUT_S) == -signal.SIGTERM
