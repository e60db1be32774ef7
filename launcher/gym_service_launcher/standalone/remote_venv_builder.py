"""The remote side of a build: carries out an order for a venv, and reports to the client over fd 1.

It travels with the server, and runs in the interpreter that the venv is made from. Knows the link and
``venv_builder.py``. Never knows the client. Standard library only, Python 3.6 and up.

It reports in separate lines: ``gym-service-venv MARK`` and JSON. The mark is the one that later precedes the server's
protocol, in hex, so that the client does not take a shell's output for a report. ``{"say": text}`` comes any number of
times, then ``{"venv": the builder's result}`` or ``{"failed": {"text", "argv", "exit_code", "tail"}}``.

If the link ends, the build stops and its folder is removed.
"""

import json
import os
import shutil
import signal
import sys

from gym_service_launcher.standalone import build_commands, env_vars, venv_builder

WORD = "gym-service-venv"
LINK_FDS = (0, 1)
# Where uv's installer puts uv, beside the folders in the PATH of a non-login shell.
UV_FOLDERS = ("~/.local/bin", "~/.cargo/bin", "~/bin", "/usr/local/bin")


def answer(order, python, environ):
    """Carry out the order. Returns the path of the venv's Python, or None; the client knows the result either way.

    ``environ``, the entry's variables, also applies here: it is the only way to say where the cache is on this side, or
    which proxy to use.
    """
    mark = order["mark"]
    signal.signal(signal.SIGTERM, _end)
    try:
        _apply(environ)
        venv = dict(order["venv"], python=python, uv=_find_uv(python))  # also on the PATH that the entry gives
        found = venv_builder.provide(venv, lambda line: _tell(mark, {"say": line}), LINK_FDS)
    except build_commands.BuildFailed as error:
        facts = {"text": str(error), "argv": error.argv, "exit_code": error.exit_code, "tail": error.tail}
    except build_commands.GivenUp:
        return None
    except (OSError, env_vars.BadVariable) as error:
        is_variable = isinstance(error, env_vars.BadVariable)
        text = str(error) if is_variable else "the folder of the venvs cannot be used: %s" % error
        facts = {"text": text, "argv": [], "exit_code": None, "tail": ""}
    else:
        _tell(mark, {"venv": found})
        return found["python"] if found["state"] != "missing" else None
    _tell(mark, {"failed": facts})
    return None


def _apply(environ):
    """Set the entry's variables in this process. Raises BadVariable."""
    own = {name: value and env_vars.expand(name, value, os.environ) for name, value in environ.items()}
    for name, value in own.items():
        os.environ.pop(name, None)
        if value is not False:
            os.environ[name] = value


def _tell(mark, data):
    """Report a line to the client, separate from whatever was printed before."""
    line = ("\n%s %s %s\n" % (WORD, mark, json.dumps(data))).encode("ascii")
    try:
        while line:
            line = line[os.write(1, line) :]
    except OSError as error:
        raise build_commands.GivenUp("the link has ended") from error


def _end(number, frame):
    raise build_commands.GivenUp("it was told to end")


def _find_uv(python):
    """The command for uv on this side; empty if there is none."""
    folders = [os.path.dirname(python), os.path.dirname(sys.executable)]
    folders += [os.path.expanduser(folder) for folder in UV_FOLDERS]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    found = shutil.which("uv", path=path)
    return [found] if found else []
