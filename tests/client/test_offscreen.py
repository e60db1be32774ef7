"""Without a display, a renderer is set only if a test showed that it works, and the test runs only if needed."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.targets import TARGETS

import gym_service
from gym_service.errors import EnvError, ImportFailed

pytestmark = [
    pytest.mark.slow,  # these tests do not depend on the client's version
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: macOS draws without DISPLAY"),
]

SETTINGS = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "PYGLET_HEADLESS")
TARGET = "py36-gym021"
# A library named like MuJoCo. It draws with the renderers that the file beside it names, and records each request.
LIBRARY = """
import os
HERE = os.path.dirname(os.path.abspath(__file__))
def working():
    with open(os.path.join(HERE, "works_with")) as file:
        return file.read().split()
class GLContext:
    def __init__(self, width, height):
        with open(os.path.join(HERE, "asked"), "a") as file:
            file.write(os.environ["MUJOCO_GL"] + "\\n")
        if os.environ["MUJOCO_GL"] not in working():
            raise RuntimeError("no " + os.environ["MUJOCO_GL"] + " in this house")
    def make_current(self):
        pass
class MjModel:
    from_xml_string = staticmethod(lambda text: None)
class mjtFontScale:
    mjFONTSCALE_50 = 50
def MjrContext(model, scale):
    pass
"""
SIMULATOR = """
import os
import gym
import numpy as np
{first}
class Env(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    found = {{name: os.environ[name] for name in %r if name in os.environ}}
    def __init__(self, fails=False):
        if fails:
            raise ValueError("it cannot draw")
    def reset(self):
        return np.zeros(1, np.float32)
""" % (SETTINGS,)


class Place:
    """A folder with the library, a simulator that imports it, and the cache."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.cache = folder, folder / "cache"
        self.python = str(TARGETS[TARGET].python())  # before the cache moves, since the target is in the cache
        (folder / "mujoco.py").write_text(LIBRARY)
        self.simulate("import mujoco")
        self.works_with("")
        patch.setenv("XDG_CACHE_HOME", str(self.cache))
        for name in (*SETTINGS, "DISPLAY", "WAYLAND_DISPLAY"):
            patch.delenv(name, raising=False)

    def simulate(self, first: str) -> None:
        (self.folder / "drawn.py").write_text(SIMULATOR.format(first=first))

    def works_with(self, names: str) -> None:
        (self.folder / "works_with").write_text(names)

    def settings(self, **given: Any) -> dict[str, str]:
        """The variables that the simulator finds set."""
        keys = {"python": self.python, "entry_point": "drawn:Env", "pythonpath": [str(self.folder)]}
        env = gym_service.make("a drawn env", **{**keys, **given})
        try:
            return env.unwrapped.found
        finally:
            env.close()

    def asked(self) -> list[str]:
        """The requests to the library since the last call of this."""
        file = self.folder / "asked"
        found = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def both(renderer: str) -> dict[str, str]:
    return {"MUJOCO_GL": renderer, "PYOPENGL_PLATFORM": renderer}


def test_the_first_that_works_is_set_and_the_answer_is_kept(place: Place) -> None:
    place.works_with("osmesa egl")
    assert place.settings() == both("egl")
    assert place.asked() == ["egl"]
    assert place.settings(prefork=True) == both("egl")
    assert place.asked() == []
    place.works_with("osmesa")
    os.utime(place.folder / "mujoco.py", (1, 1))  # another version of the library
    assert place.settings() == both("osmesa")
    assert place.asked() == ["egl", "osmesa"]
    # Another driver, in another folder.
    assert place.settings(environ={"LD_LIBRARY_PATH": "/absent"}) == both("osmesa")
    assert place.asked() == ["egl", "osmesa"]


def test_where_nothing_works_nothing_is_set_and_errors_say_so(place: Place) -> None:
    assert place.settings() == {}
    words = (
        "gym-service: there is no display, and no renderer was set, since none was seen to work "
        r"(egl: RuntimeError: no egl in this house; osmesa: RuntimeError: no osmesa in this house)"
    )
    with pytest.raises(EnvError, match="it cannot draw") as caught:
        place.settings(kwargs={"fails": True})
    assert words in str(caught.value)
    place.simulate("import mujoco, absent")
    with pytest.raises(ImportFailed) as failed:
        place.settings(imports=["drawn"])
    assert words in str(failed.value)


def test_an_error_says_what_was_set(place: Place) -> None:
    place.works_with("osmesa")
    with pytest.raises(EnvError, match="it cannot draw") as caught:
        place.settings(kwargs={"fails": True})
    words = "there is no display, so MUJOCO_GL=osmesa, PYOPENGL_PLATFORM=osmesa was set, which was seen to work (egl: "
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"MUJOCO_GL": "glx"}, {"MUJOCO_GL": ""}, {"PYOPENGL_PLATFORM": "x"}, {"DISPLAY": ":7"}]
)
def test_what_the_user_has_set_stays_and_nothing_is_asked(place: Place, given: dict[str, str]) -> None:
    place.works_with("osmesa egl")
    found = {name: value for name, value in given.items() if name in SETTINGS}
    assert place.settings(environ=given) == found
    assert place.asked() == []
    assert not place.cache.exists()


def test_what_the_simulator_sets_itself_stays(place: Place) -> None:
    place.simulate("os.environ['MUJOCO_GL'] = 'glfw'; import mujoco")
    assert place.settings() == {"MUJOCO_GL": "glfw"}
    assert place.asked() == []


def test_a_simulator_that_imports_no_such_library_asks_nothing(place: Place) -> None:
    place.works_with("egl")
    place.simulate("import json, email.mime.text")
    assert place.settings() == {}
    assert place.asked() == []
    assert not place.cache.exists()


def test_an_answer_is_kept_in_no_folder_that_others_can_write_to(place: Place) -> None:
    place.works_with("egl")
    folder = place.cache / "gym-service" / "offscreen"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    for _ in range(2):
        assert place.settings() == both("egl")
        assert place.asked() == ["egl"]
    assert list(folder.iterdir()) == []


def test_over_a_command_the_other_side_is_asked(place: Place) -> None:
    """The text of the probe travels with the server."""
    place.works_with("osmesa")
    assert place.settings(command=["env"]) == both("osmesa")


SDL_SIMULATOR = """
import os
import gym
import numpy as np
import pygame
class Env(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    driver = os.environ.get("SDL_VIDEODRIVER")
    marks = [name for name in os.environ if name.startswith("GYM_SERVICE_SDL")]
    def reset(self):
        return np.zeros(1, np.float32)
"""


@pytest.mark.parametrize(
    ("version", "given", "expected"),
    [
        ("pygame-1.9.6.dist-info", {}, "dummy"),
        ("pygame-2.3.0.dist-info", {}, "dummy"),
        ("no version", {}, "dummy"),
        ("pygame-2.5.0.dist-info", {}, None),
        ("pygame_ce-2.5.5.dist-info", {}, None),
        ("pygame-2.6.1.dist-info", {"SDL_VIDEODRIVER": "dummy"}, "dummy"),  # the user's own
        ("pygame-2.6.1.dist-info", {"SDL_VIDEODRIVER": False}, None),
        ("pygame-2.3.0.dist-info", {"DISPLAY": ":7"}, None),
    ],
)
def test_sdl_draws_as_in_process_where_it_can(
    version: str, given: dict[str, Any], expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """highway-env takes the word ``dummy`` for the wish to draw nothing: its pictures were black, without an error."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / version).mkdir()
    (tmp_path / "pygame.py").write_text("")
    (tmp_path / "simulator.py").write_text(SDL_SIMULATOR)
    python = str(TARGETS[TARGET].python())
    given = {"python": python, "pythonpath": [str(tmp_path)], "entry_point": "simulator:Env", "environ": given}
    env = gym_service.make("sdl", **given)
    try:
        assert (env.driver, env.marks) == (expected, [])
    finally:
        env.close()
