"""The way from a viewer to a server: the record, its owner and mode, and servers that were started in each way."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gym_service_launcher.processes import pidfiles
from support.looking import FPS, everything, looking, records, seen
from support.paths import ENVS, REPOSITORY

import gym_service
from gym_service.server.adapters.gymnasium import GymnasiumAdapter
from gym_service.server.counters import Counters
from gym_service.server.viewer_link import ViewerLink, open_link
from gym_service.viewer.observed import CannotLook, ObservedServer

pytestmark = pytest.mark.filterwarnings("ignore:.*cannot cross:UserWarning")


def made(**given: Any) -> Any:
    kwargs = {"render_mode": "rgb_array"}
    where = {"entry_point": "viewed:ViewedEnv", "pythonpath": [str(ENVS)], "python": sys.executable}
    return gym_service.make("Viewed-v0", **where, kwargs=kwargs, **given)


def test_only_one_process_looks_at_a_server_and_one_that_was_killed_is_replaced() -> None:
    with made() as env:
        env.reset()
        (server,) = records()
        code = (
            "import sys; from pathlib import Path; from gym_service.viewer.observed import ObservedServer\n"
            f"look = ObservedServer(Path({str(server.record)!r}), fps=100, count=1); print('looks', flush=True)\n"
            "sys.stdin.read()"
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "launcher")])
        other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, **pipes)
        with other:
            assert other.stdout
            assert other.stdout.readline() == b"looks\n"
            with pytest.raises(CannotLook, match="another gym-service view"):
                ObservedServer(server.record, fps=1, count=1)
            # It reads nothing: its socket fills, and the trainer does not notice.
            for _ in range(300):
                env.step(0)
            other.send_signal(signal.SIGKILL)
        while _wanted(server.record):
            env.step(0)
        with looking() as look:
            assert seen(look, lambda: env.step(0)).arrays


def _wanted(record: Path) -> int:
    content = record.read_bytes()
    return int.from_bytes(content[pidfiles.VIEWERS_AT : pidfiles.VIEWERS_AT + 8], sys.byteorder)


def test_a_server_that_is_no_longer_looked_at_is_as_before() -> None:
    with made() as env:
        env.reset()
        with looking() as look:
            seen(look, lambda: env.step(0))
        renders = env.get_wrapper_attr("renders")
        for _ in range(50):
            env.step(0)
        assert env.get_wrapper_attr("renders") == renders
        (server,) = records()
        assert not server.record.with_suffix(".view").exists()


def test_another_env_of_the_same_server_is_another_look(tmp_path: Path) -> None:
    record = tmp_path / "1-a.server"
    record.write_bytes(bytes(pidfiles.RECORD_BYTES))
    record.chmod(0o600)
    link = ViewerLink(str(record), pidfiles.VIEWERS_AT)
    look = ObservedServer(record, fps=FPS, count=1)
    counters = Counters()
    counters.episodes = 1
    adapters = [GymnasiumAdapter(Pictures(), "rgb_array", False) for _ in range(2)]
    for adapter in adapters:
        link.after_call(adapter, counters)
        assert "step" in vars(adapter)
        assert everything(look)
    assert [name for name in ("step", "reset") if name in vars(adapters[0])] == []
    link.after_call(None, counters)  # the env is closed
    assert "step" not in vars(adapters[1])
    assert look.is_asked
    look.close()
    link.after_call(adapters[0], counters)
    assert "step" not in vars(adapters[0])


class Pictures(gymnasium.Env[Any, Any]):
    render_mode = "rgb_array"
    observation_space = action_space = gymnasium.spaces.Discrete(2)

    def render(self) -> Any:
        return np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666])
def test_a_record_that_others_could_write_or_read_is_left_alone(tmp_path: Path, mode: int) -> None:
    record = tmp_path / "1-a.server"
    record.write_bytes(bytes(pidfiles.RECORD_BYTES))
    record.chmod(mode)
    with pytest.raises(OSError, match="is not a private file of this user"):
        ViewerLink(str(record), pidfiles.VIEWERS_AT)
    with pytest.raises(CannotLook, match="is not a private file of yours"):
        ObservedServer(record, fps=1, count=1)
    record.chmod(0o600)
    link = tmp_path / "2-b.server"
    link.symlink_to(record)
    with pytest.raises(OSError, match="symbolic link"):
        ViewerLink(str(link), pidfiles.VIEWERS_AT)
    with pytest.raises(OSError, match="symbolic link"):
        ObservedServer(link, fps=1, count=1)
    assert open_link(f"{pidfiles.VIEWERS_AT}:{link}") is None


@pytest.mark.long
@pytest.mark.parametrize("given", [{"prefork": True}, {"transport": "stdio"}], ids=str)
def test_however_the_server_was_started(given: dict[str, Any]) -> None:
    with made(**given) as env:
        env.reset()
        server = next(server for server in records() if server.pid == env.target["pid"])
        look = ObservedServer(server.record, fps=FPS, count=1)
        assert seen(look, lambda: env.step(0)).arrays
        look.close()


@pytest.mark.long
def test_behind_a_command_nobody_looks_from_outside() -> None:
    with made(command=["env"]) as env:
        env.reset()
        (server,) = records()
        with pytest.raises(CannotLook, match="behind a command or in a container"):
            ObservedServer(server.record, fps=1, count=1)
