"""The environment variables that a target runs with, on this machine or at the other end of a command.

Knows variables. Never knows where interpreters lie, nor envs.toml. Standard library only, Python 3.6 and up: it runs on
both sides, so that an entry means the same on either.
"""

import os
import sys

# What Python reads at its start and what would lead it, or uv, back to the client's own interpreter.
PYTHON_VARS_TO_DROP = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")

# Where the token of a server may lie: no business of a simulator's.
TOKEN = "GYM_SERVICE_TOKEN"

# The renderers that need no display, by the variable that each library reads.
OFFSCREEN = ("egl", "osmesa")


def without_python_vars(variables):
    """The variables without those that tie a Python to the client's interpreter."""
    return {name: value for name, value in variables.items() if name not in PYTHON_VARS_TO_DROP}


def environment(executable, environ, pythonpath, base=os.environ):
    """The variables a target runs with: ``base`` without what leads back to the client's interpreter.

    PATH begins with the target's own bin. Where there is no display, renderers that need none are the
    default, unless ``base`` says otherwise. ``environ`` wins over everything.
    """
    variables = without_python_vars(base)
    variables.pop(TOKEN, None)
    variables["PATH"] = os.pathsep.join([os.path.dirname(str(executable)), base.get("PATH", os.defpath)])
    importable = os.pathsep.join(str(path) for path in pythonpath)
    if importable:
        variables["PYTHONPATH"] = importable
    variables.update(environ)
    # macOS draws without DISPLAY, and has no EGL.
    if sys.platform == "linux" and not (variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY")):
        _draw_offscreen(variables)
    return variables


def _draw_offscreen(variables):
    """MuJoCo refuses to start when its two variables name different renderers: one follows the other."""
    platform = variables.get("PYOPENGL_PLATFORM", "")
    renderer = variables.setdefault("MUJOCO_GL", platform if platform in OFFSCREEN else "egl")
    if renderer in OFFSCREEN:
        variables.setdefault("PYOPENGL_PLATFORM", renderer)
    variables.setdefault("SDL_VIDEODRIVER", "dummy")
