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

    PATH begins with the target's own bin folder. Where there is no display, the default is a renderer that needs none,
    unless ``base`` names another. ``environ`` overrides everything.
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
    """Set both of MuJoCo's variables to one renderer: it refuses to start where they differ."""
    platform = variables.get("PYOPENGL_PLATFORM", "")
    renderer = variables.setdefault("MUJOCO_GL", platform if platform in OFFSCREEN else "egl")
    if renderer in OFFSCREEN:
        variables.setdefault("PYOPENGL_PLATFORM", renderer)
    variables.setdefault("SDL_VIDEODRIVER", "dummy")
