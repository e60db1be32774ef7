"""The original project's two names, its two example scripts, and entries with an address."""

import copy
import inspect
import pickle
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.paths import REPOSITORY
from support.serving import Serving, environment_without_screen, running, started
from support.targets import TARGETS

import gym_service
from gym_service import RemoteEnv, SocketGymClient, SocketGymServer
from gym_service.errors import ConfigError, EnvError, ServerStartError

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

OWN_ID = "tests/OverASocket-v0"


@pytest.fixture(autouse=True)
def config_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def serving_with(**given: Any) -> list[str]:
    """The command that starts a SocketGymServer."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in ({"port": 0} | given).items())
    return [sys.executable, "-c", f"from gym_service import SocketGymServer; SocketGymServer({arguments}).start()"]


@pytest.fixture
def serving(config_home: Path) -> Iterator[Serving]:
    with started(serving_with()) as server:
        yield server


@pytest.fixture
def own_id(serving: Serving) -> Iterator[str]:
    """A user's own id, registered as the original project's README does."""
    gymnasium.register(
        OWN_ID,
        entry_point="gym_service.envs:SocketGymClient",
        max_episode_steps=300,
        kwargs={"env_id": "CartPole-v1", "port": serving.port},
    )
    yield OWN_ID
    del gymnasium.registry[OWN_ID]


def test_the_names_and_their_defaults() -> None:
    server = SocketGymServer()
    assert (server.host, server.port, server.python) == ("127.0.0.1", 65432, sys.executable)
    parameters = list(inspect.signature(SocketGymClient).parameters.values())
    assert [(each.name, each.default) for each in parameters[:-1]] == [
        ("env_id", "CartPole-v1"),
        ("env_type", None),
        ("host", "127.0.0.1"),
        ("port", 65432),
    ]
    assert parameters[-1].kind == inspect.Parameter.VAR_KEYWORD
    assert issubclass(SocketGymClient, RemoteEnv)
    assert gym_service.envs.SocketGymClient is SocketGymClient


def test_it_gives_what_the_simulator_gives_here(serving: Serving) -> None:
    local = gymnasium.make("CartPole-v1", render_mode="rgb_array")
    env = SocketGymClient(env_id="CartPole-v1", port=serving.port)
    assert (env.observation_space, env.action_space) == (local.observation_space, local.action_space)
    assert env.metadata == local.metadata
    assert env.metadata["render_fps"] == 50
    (observation, info), (expected, _) = env.reset(seed=7), local.reset(seed=7)
    assert np.array_equal(observation, expected)
    assert info == {}
    for action in (0, 1, 1):
        for given, wanted in zip(env.step(action), local.step(action), strict=True):
            assert np.array_equal(given, wanted)
            assert type(given) is type(wanted)
    assert np.array_equal(env.render(), local.render())
    env.close()
    local.close()


def test_it_renders_arrays_unless_told_otherwise(serving: Serving) -> None:
    for given, mode in (({}, "rgb_array"), ({"render_mode": None}, None), ({"render_mode": "ansi"}, "ansi")):
        env = SocketGymClient("FrozenLake-v1", port=serving.port, is_slippery=False, **given)
        assert env.render_mode == mode
        env.reset()
        assert env.step(2)[0] == 1  # not slippery: the keyword reached the simulator
        assert mode != "ansi" or "(Right)" in env.render()
        env.close()


@pytest.mark.filterwarnings("error")
def test_an_id_of_ones_own(own_id: str) -> None:
    env = gymnasium.make(own_id)
    assert type(env.unwrapped) is SocketGymClient
    assert env.spec
    assert env.spec.max_episode_steps == 300
    assert (env.render_mode, env.unwrapped.metadata["render_fps"]) == ("rgb_array", 50)
    env.reset(seed=1)
    with pytest.raises(gymnasium.error.ResetNeeded):
        gymnasium.make(own_id, render_mode="rgb_array_list").step(0)
    env.close()


def test_the_limit_of_an_id_of_ones_own_holds(own_id: str) -> None:
    env = gymnasium.make(own_id, env_id="Pendulum-v1", max_episode_steps=3)
    env.reset()
    assert [env.step(env.action_space.sample())[3] for _ in range(3)] == [False, False, True]
    env.close()


def test_pickled_or_copied_it_is_another_env_of_the_same_server(serving: Serving) -> None:
    env = SocketGymClient("FrozenLake-v1", port=serving.port, map_name="8x8")
    others = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    assert {type(other) for other in others} == {SocketGymClient}
    assert len({each.target["pid"] for each in (env, *others)}) == 3
    for each in (env, *others):
        assert each.observation_space.n == 64  # type: ignore[attr-defined]
        assert each.render_mode == "rgb_array"
        each.reset()
        each.close()


def test_what_the_server_cannot_make(serving: Serving) -> None:
    with pytest.raises(ServerStartError, match="No module named 'gym_nothing'"):
        SocketGymClient("X-v0", "nothing", port=serving.port)
    with pytest.raises(EnvError, match="CartPolo"):
        SocketGymClient("CartPolo-v1", port=serving.port)
    with pytest.raises(EnvError, match="not the client's own"):
        SocketGymClient("X-v0", "nothing; import os", port=serving.port)
    with pytest.raises(ConfigError, match="not an address"):
        SocketGymClient("CartPole-v1", host="", port=serving.port)


@pytest.mark.real
def test_env_type_has_the_server_import_the_simulator() -> None:
    python = TARGETS["pusht"].python()
    with started(serving_with(python=str(python))) as serving:
        gymnasium.register(
            OWN_ID,
            entry_point="gym_service.envs:SocketGymClient",
            max_episode_steps=300,
            kwargs={"env_id": "gym_pusht/PushT-v0", "env_type": "pusht", "port": serving.port},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the checker: PushT's observations are not in its space
            env = gymnasium.make(OWN_ID, obs_type="pixels_agent_pos")
            observation, _ = env.reset(seed=1)
        del gymnasium.registry[OWN_ID]
        assert list(observation) == ["pixels", "agent_pos"]
        assert env.render().shape[2] == 3  # type: ignore[union-attr]
        assert env.metadata["render_fps"] == 10
        assert env.unwrapped.target["executable"] == str(python)  # type: ignore[attr-defined]
        env.close()


@pytest.mark.parametrize("target", ["py36-gym021", "py38-gym021"])
def test_the_server_starts_old_interpreters_too(target: str) -> None:
    with started(serving_with(python=str(TARGETS[target].python()))) as serving:
        env = SocketGymClient("CartPole-v1", port=serving.port)
        assert env.target["python"].startswith("3.6" if "py36" in target else "3.8")
        first, _ = env.reset(seed=1)
        env.step(1)
        assert np.array_equal(env.reset(seed=1)[0], first)
        env.close()


def test_localhost_is_either_loopback() -> None:
    with started(serving_with(host="localhost")) as serving:
        hosts = {str(info[4][0]) for info in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
        for host in {"localhost", *hosts}:
            with socket.create_connection((host, serving.port)):
                pass
            SocketGymClient("CartPole-v1", host=host, port=serving.port).close()


def test_ctrl_c_is_a_keyboard_interrupt_in_the_script(config_home: Path) -> None:
    program = serving_with()
    program[2] = (
        program[2].replace("; SocketGymServer", "\ntry: SocketGymServer") + "\nexcept KeyboardInterrupt: exit(7)"
    )
    with started(program) as serving:
        env = SocketGymClient("CartPole-v1", port=serving.port)
        assert serving.end(2) == 7
        with pytest.raises(gym_service.errors.ConnectionLost):
            env.reset()


def test_the_examples_run_as_they_stand(tmp_path: Path) -> None:
    with socket.socket() as sock:
        if sock.connect_ex(("127.0.0.1", 2333)) == 0:
            pytest.skip("another process listens on port 2333, which the examples use")
    server = [sys.executable, "examples/example_server.py"]
    with started(server) as serving:
        assert serving.lines[0] == "[Example Server] Starting server..."
        ran = subprocess.run(
            [sys.executable, str(REPOSITORY / "examples/example_client.py")],
            cwd=tmp_path,
            env=environment_without_screen(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert serving.end(2) == 0
    assert "[Example Server] Stopped." in serving.lines
    said = [line for line in ran.stderr.splitlines() if not line.startswith("waiting for the server")]
    assert said == []  # about a start that takes long on a busy machine
    steps = re.findall(r"Step (\d): action=.*obs=\[.*\], reward=1.0, terminated=False", ran.stdout)
    assert steps == ["0", "1", "2", "3", "4"]
    with pytest.importorskip("PIL.Image").open(tmp_path / "outputs/example_client.png") as picture:
        assert picture.size == (5 * 600, 400)
        assert len(picture.getcolors(1 << 20)) > 3


# -- entries that say an address -------------------------------------------------------------------------------------


@pytest.fixture
def envs_toml(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "envs.toml"
    yield file
    file.write_text("")
    gym_service.use(file)  # unregisters the ids


def test_an_entry_with_an_address_attaches(envs_toml: Path) -> None:
    with running() as serving:
        envs_toml.write_text(
            f'[envs."Far-v0"]\nid = "Pendulum-v1"\naddress = "{serving.address}"\nmax_episode_steps = 3\n'
            f'[envs."Near-v0"]\nid = "Pendulum-v1"\npython = "{sys.executable}"\nmax_episode_steps = 3\n'
        )
        assert gym_service.use(envs_toml) == ["gym_service/Far-v0", "gym_service/Near-v0"]
        frames = []
        for name, given in (
            ("Far-v0", {}),
            ("Near-v0", {"host": "127.0.0.1", "port": serving.port}),
            ("Near-v0", {"port": serving.port}),
            ("Near-v0", {"service": {"address": serving.address}}),
            ("Near-v0", {}),
        ):
            env = gymnasium.make(f"gym_service/{name}", render_mode="rgb_array", **given)
            assert env.reset(seed=5)[0] in env.observation_space
            truncated = [env.step(np.array([0.5], np.float32))[3] for _ in range(3)]
            assert truncated == [False, False, True]
            frames.append(env.render())
            env.close()
        assert all(np.array_equal(frame, frames[0]) for frame in frames)
        assert serving.end() == -15
        assert len([line for line in serving.lines if " connected: " in line]) == 4


def test_an_attached_env_is_pickled_as_its_address(envs_toml: Path) -> None:
    with running() as serving:
        envs_toml.write_text(f'[envs."Near-v0"]\nid = "CartPole-v1"\npython = "{sys.executable}"\n')
        gym_service.use(envs_toml)
        env = gymnasium.make("gym_service/Near-v0", port=serving.port).unwrapped
        other = pickle.loads(pickle.dumps(env))
        env.close()
        other.reset()
        other.close()
        serving.end()
        assert len([line for line in serving.lines if " connected: " in line]) == 2
