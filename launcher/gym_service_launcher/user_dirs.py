"""Where things of the user lie: what they say, what is kept between runs, what lives only as long as a server.

Knows the XDG base directories. Python 3.10 and up.
"""

import os
from pathlib import Path


def state() -> Path:
    """The folder for what is kept, logs above all: ``$XDG_STATE_HOME`` or ``~/.local/state``, then ``gym-service``."""
    return _absolute("XDG_STATE_HOME") or Path(os.path.expanduser("~/.local/state/gym-service"))


def runtime_dir() -> Path:
    """The folder for what goes with its process: ``$XDG_RUNTIME_DIR/gym-service``, else one in ``state()``."""
    return _absolute("XDG_RUNTIME_DIR") or state() / "run"


def configuration() -> Path:
    """The folder for what the user says, the token too: ``$XDG_CONFIG_HOME`` or ``~/.config``, then ``gym-service``."""
    return _absolute("XDG_CONFIG_HOME") or Path(os.path.expanduser("~/.config/gym-service"))


def working() -> Path | None:
    """The working directory; None where it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _absolute(variable: str) -> Path | None:
    # The XDG specification: a relative one is to be ignored.
    folder = os.environ.get(variable, "")
    return Path(folder) / "gym-service" if os.path.isabs(folder) else None
