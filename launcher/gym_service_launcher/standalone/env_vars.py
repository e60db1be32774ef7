"""The environment variables of a target, on this machine or on the remote side of a command.

Knows variables. Never knows how an interpreter is found, nor envs.toml. Standard library only, Python 3.6 and up: it
runs on both sides, so that an entry means the same on either.
"""

import os
import sys

# Variables that would lead the target's Python, or uv, to the client's interpreter.
PYTHON_VARS_TO_DROP = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")

# May hold the token of a server. A simulator does not get it.
TOKEN = "GYM_SERVICE_TOKEN"

# The renderers that need no display.
OFFSCREEN = ("egl", "osmesa")


def without_python_vars(variables):
    """The variables without those that tie a Python to the client's interpreter."""
    return {name: value for name, value in variables.items() if name not in PYTHON_VARS_TO_DROP}


def environment(executable, environ, pythonpath, base=os.environ):
    """The variables of a target: ``base`` without those that lead to the client's interpreter.

    PATH begins with the target's own bin folder. Where there is no display, SDL draws without one, and of MuJoCo's two
    variables the one that is not set follows the one that is. Where neither is, the server chooses: see
    ``gym_service/server/offscreen.py``. ``environ`` overrides everything.
    """
    variables = without_python_vars(base)
    variables.pop(TOKEN, None)
    variables["PATH"] = os.pathsep.join([os.path.dirname(str(executable)), base.get("PATH", os.defpath)])
    importable = os.pathsep.join(str(path) for path in pythonpath)
    if importable:
        variables["PYTHONPATH"] = importable
    variables.update(environ)
    # macOS renders without DISPLAY, and has no EGL.
    if sys.platform == "linux" and not (variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY")):
        _draw_offscreen(variables)
    return variables


def _draw_offscreen(variables):
    """MuJoCo refuses to start where its two variables differ."""
    for given, other in (("MUJOCO_GL", "PYOPENGL_PLATFORM"), ("PYOPENGL_PLATFORM", "MUJOCO_GL")):
        if variables.get(given) in OFFSCREEN:
            variables.setdefault(other, variables[given])
    variables.setdefault("SDL_VIDEODRIVER", "dummy")
