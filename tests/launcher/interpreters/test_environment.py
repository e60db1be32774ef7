"""The environment variables of a target."""

import sys
from pathlib import Path

import pytest
from gym_service_launcher.standalone import env_vars
from gym_service_launcher.standalone.env_vars import environment

HEADLESS = {"SDL_VIDEODRIVER": "dummy", env_vars.SDL_MARK: "1"}
OSMESA = {**HEADLESS, "MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: macOS draws without DISPLAY")


def test_what_leads_back_to_the_client_is_dropped() -> None:
    base = dict.fromkeys(env_vars.PYTHON_VARS_TO_DROP, "client") | {
        "PATH": "/usr/bin",
        "HOME": "/h",
        "DISPLAY": ":0",
    }
    assert environment("/sim/bin/python", {}, (), base) == {
        "PATH": "/sim/bin:/usr/bin",
        "HOME": "/h",
        "DISPLAY": ":0",
    }


def test_the_entry_wins_over_everything() -> None:
    base = {"PATH": "/usr/bin", "PYTHONPATH": "/client", "DISPLAY": ":0"}
    variables = environment("/sim/bin/python", {}, ("/a", Path("/b")), base)
    assert variables["PYTHONPATH"] == "/a:/b"
    own = {"PYTHONPATH": "/own", "PATH": "/mine", "VIRTUAL_ENV": "/v", "DISPLAY": ":1"}
    assert environment("/sim/bin/python", own, ("/a",), base) == own


@needs_linux
@pytest.mark.parametrize(
    ("base", "environ", "expected"),
    [
        ({}, {}, HEADLESS),
        ({"DISPLAY": ""}, {}, {"DISPLAY": "", **HEADLESS}),
        ({"WAYLAND_DISPLAY": "w"}, {}, {"WAYLAND_DISPLAY": "w"}),
        ({}, {"DISPLAY": ":7"}, {"DISPLAY": ":7"}),
        ({"SDL_VIDEODRIVER": "x11"}, {}, {"SDL_VIDEODRIVER": "x11"}),
        ({}, {"SDL_VIDEODRIVER": False}, {}),
        # MuJoCo refuses two different renderers: the variable that is not set follows the one that is.
        ({"MUJOCO_GL": "osmesa"}, {}, OSMESA),
        ({}, {"PYOPENGL_PLATFORM": "osmesa"}, OSMESA),
        ({"MUJOCO_GL": "disabled"}, {}, {"MUJOCO_GL": "disabled", **HEADLESS}),
    ],
)
def test_without_a_display_renderers_need_none(
    base: dict[str, str], environ: dict[str, str], expected: dict[str, str]
) -> None:
    variables = environment("/sim/bin/python", environ, (), {"PATH": "/usr/bin", **base})
    assert variables == {"PATH": "/sim/bin:/usr/bin", **expected}
