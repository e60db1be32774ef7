"""``render_mode="human"``: a window here if the simulator has none, its own if it has one, an error without either."""

import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import pytest
from support.opened import opened
from support.paths import ENVS, REPOSITORY
from support.screen import screen
from support.targets import TARGETS

import gym_service
from gym_service.errors import ConfigError

pytest.importorskip("pygame", reason="pygame is missing (pip install pygame)")


def keys(target: str = "py312-gymnasium14") -> dict[str, Any]:
    return {"python": str(TARGETS[target].python())}


def variables(**more: str) -> dict[str, str]:
    paths = os.pathsep.join(map(str, [REPOSITORY, REPOSITORY / "launcher"]))
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {**kept, "PYTHONPATH": paths, **more}


def test_frames_of_a_simulator_without_a_window_are_shown_here() -> None:
    """CartPole's server has no display, this process has one: the image on the screen equals the frame."""
    program = """
import sys, gym_service
keys = dict(python=sys.argv[1], environ={"DISPLAY": "", "SDL_VIDEODRIVER": "dummy"})
env = gym_service.make("CartPole-v1", render_mode="human", **keys)
still = gym_service.make("CartPole-v1", render_mode="rgb_array", **keys)
for each in (env, still):
    each.reset(seed=1)
    for _ in range(3):
        each.step(1)
print(type(env).__name__, env.render_mode, env.render(), flush=True)
import numpy as np
np.save(sys.argv[2], still.render())
print("shown", flush=True)
sys.stdin.readline()
env.close()
still.close()
"""
    with screen() as shown, tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-c", program, keys()["python"], f"{folder}/frame.npy"]
        with subprocess.Popen(
            argv, env=variables(DISPLAY=shown.display), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout
            assert client.stdin
            assert client.stdout.readline() == "WindowedEnv human None\n"
            assert client.stdout.readline() == "shown\n"
            picture = shown.picture()
            client.stdin.write("\n")
            client.stdin.flush()
            assert client.wait(60) == 0
        frame = np.load(f"{folder}/frame.npy")
    height, width = frame.shape[:2]
    rows, columns = picture.shape[0] - height + 1, picture.shape[1] - width + 1
    corner = frame[-1, 0]
    places = [
        (top, left)
        for top in range(rows)
        for left in range(columns)
        if (picture[top + height - 1, left] == corner).all() and (picture[top, left] == frame[0, 0]).all()
    ]
    assert any((picture[top : top + height, left : left + width] == frame).all() for top, left in places)


def test_without_a_display_on_either_side_the_error_names_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"neither the simulator nor this process has a display\n.*record"):
        gym_service.make("CartPole-v1", **keys(), render_mode="human")


def test_a_simulator_with_a_display_opens_its_own_window(monkeypatch: pytest.MonkeyPatch) -> None:
    with screen() as shown:
        monkeypatch.setenv("DISPLAY", shown.display)
        before = shown.picture()
        with opened("CartPole-v1", render_mode="human") as env:
            assert type(env) is gym_service.RemoteEnv
            env.reset(seed=1)
            env.step(1)
            assert (shown.picture() != before).any()


def test_a_simulator_with_rgb_array_alone_is_shown_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("DISPLAY", raising=False)
    with opened("Misbehaving-v0", "misbehaving", render_mode="human") as env:
        assert (type(env).__name__, env.render_mode) == ("WindowedEnv", "human")
        env.reset(seed=1)
        env.step(1)
        assert env.render() is None
    monkeypatch.setenv("DISPLAY", ":0")  # so that the simulator's side has a display too
    with opened("Misbehaving-v0", "misbehaving", render_mode="human") as env:
        assert type(env).__name__ == "WindowedEnv"


def test_a_human_mode_of_texts_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    given = {"entry_point": "text_only:TextOnlyEnv", "pythonpath": [str(ENVS)]}
    with pytest.raises(gym_service.errors.EnvValueError, match="no such render mode: 'human'"):
        gym_service.make("Text-v0", **keys(), **given, render_mode="human")
