"""The environment variables of a target, on this machine or on the remote side of a command.

Knows variables. Never knows how an interpreter is found, or envs.toml. Standard library only, Python 3.6 and up: it
runs on both sides, so that an entry means the same on both.
"""

import os
import re
import sys

# Variables that would lead the target's Python, or uv, to the client's interpreter.
PYTHON_VARS_TO_DROP = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")

# May hold a server's token, which a simulator must not get.
TOKEN = "GYM_SERVICE_TOKEN"

# The renderers that work without a display.
OFFSCREEN = ("egl", "osmesa")
# Says that SDL_VIDEODRIVER is this module's and not the user's. The server removes it (``server/offscreen.py``).
SDL_MARK = "GYM_SERVICE_SDL_IS_DEFAULT"

# What a default may hold: no braces but those of a variable, whose own default has none. No text matches in two ways:
# so a long one that does not match is refused at once.
DEFAULT = r"(?:\$\$|\$\{[A-Za-z_]\w*(?::-[^{}]*)?\}|\$(?![${])|[^${}])*"

# What is expanded in a value of ``environ``: a tilde that stands for the home folder, and a dollar with what follows
# it: a dollar, a variable, or a variable with a default.
EXPANDED = re.compile(
    r"(?P<home>(?:\A|(?<=:))~(?=[/:]|\Z))"
    r"|\$(?:(?P<dollar>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?::-(?P<default>%s))?\}|)" % DEFAULT,
    re.ASCII,
)
DEFAULT_FORMS = "expected ${NAME:-text}, ${NAME:-$OTHER} or ${NAME:-${OTHER:-text}}, without other braces"
HAS_DEFAULT = re.compile(r"\{[A-Za-z_]\w*:-", re.ASCII)


class BadVariable(ValueError):
    """A value of ``environ`` that cannot be expanded. The text says which one, why, and what to write."""


def without_python_vars(variables):
    """The variables without those that would lead a Python to the client's interpreter."""
    return {name: value for name, value in variables.items() if name not in PYTHON_VARS_TO_DROP}


def inherited(base=os.environ):
    """The part of ``base`` that a target or its activation script inherits: nothing that leads to another Python."""
    variables = without_python_vars(base)
    variables.pop(TOKEN, None)
    return variables


def environment(executable, environ, pythonpath, base=os.environ):
    """The variables of a target without an activation script; arguments and errors as for ``complete``."""
    return complete(executable, environ, pythonpath, inherited(base))


def complete(executable, environ, pythonpath, inherited):
    """The variables of a target: those that it inherits, perhaps from an activation script, and its own.

    PATH begins with the target's bin folder, PYTHONPATH with ``pythonpath``. Without a display, SDL gets its dummy
    driver, and if one of MuJoCo's two variables is set, the other is set to match. If neither is set, the server
    chooses: see ``gym_service/server/offscreen.py``. ``environ`` overrides everything: False unsets a variable, and a
    text may refer to the variables as they are before it (``expand``).

    Raises:
        BadVariable: a text of ``environ`` refers to a variable that is not set, or has a dollar without a name.
    """
    variables = dict(inherited)
    variables["PATH"] = os.pathsep.join([os.path.dirname(str(executable)), inherited.get("PATH", os.defpath)])
    importable = [str(path) for path in pythonpath]
    if importable:
        variables["PYTHONPATH"] = os.pathsep.join(importable + list(filter(None, [inherited.get("PYTHONPATH")])))
    own = {name: value if value is False else expand(name, value, variables) for name, value in environ.items()}
    variables.update((name, value) for name, value in own.items() if value is not False)
    # macOS renders without DISPLAY, and has no EGL.
    if sys.platform == "linux" and not any(_value(name, own, variables) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        _draw_offscreen(variables, own)
    for name, value in own.items():
        if value is False:
            variables.pop(name, None)
    return variables


def expand(name, text, variables):
    """A value of ``environ`` as the target gets it.

    ``$NAME`` and ``${NAME}`` are variables, ``${NAME:-text}`` is a variable with a default, ``$$`` is a dollar. A ``~``
    at the beginning of the text or of a default, or of a part of it after a colon, is the home folder, as in a shell's
    assignment.
    """
    return EXPANDED.sub(lambda found: _expanded(name, found, variables), text)


def _expanded(name, found, variables):
    if found.group("home"):
        return variables.get("HOME") or os.path.expanduser("~")
    if found.group("dollar"):
        return "$"
    wanted = found.group("name") or found.group("braced")
    if not wanted:
        if HAS_DEFAULT.match(found.string, found.end()):
            raise BadVariable("environ.%s: a default that cannot be read; %s" % (name, DEFAULT_FORMS))
        raise BadVariable("environ.%s: a $ that names no variable; expected $NAME, ${NAME}, or $$ for a dollar" % name)
    if found.group("default") is not None:
        return variables.get(wanted) or expand(name, found.group("default"), variables)
    if wanted not in variables:
        advice = "${%s:-} for an empty text where it is not set, or $$%s for a dollar" % (wanted, wanted)
        raise BadVariable("environ.%s: the variable %s is not set; expected %s" % (name, wanted, advice))
    return variables[wanted]


def _value(name, own, variables):
    return None if own.get(name) is False else variables.get(name)


def _draw_offscreen(variables, own):
    """Set MuJoCo's two variables to match, since MuJoCo does not start if they differ; and SDL's, and say so."""
    for given, other in (("MUJOCO_GL", "PYOPENGL_PLATFORM"), ("PYOPENGL_PLATFORM", "MUJOCO_GL")):
        if variables.get(given) in OFFSCREEN:
            variables.setdefault(other, variables[given])
    if "SDL_VIDEODRIVER" not in variables and own.get("SDL_VIDEODRIVER") is not False:
        variables.update({"SDL_VIDEODRIVER": "dummy", SDL_MARK: "1"})
