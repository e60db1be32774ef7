"""The user's folders: configuration, state that outlives a run, and files of running servers.

Knows the XDG base directories. Never knows what is stored in them. Python 3.10 and up.
"""

import os
from pathlib import Path


def state() -> Path:
    """The folder for state that outlives a run, such as logs: ``gym-service`` in $XDG_STATE_HOME or ~/.local/state."""
    return _absolute("XDG_STATE_HOME") or Path(os.path.expanduser("~/.local/state/gym-service"))


def runtime_dir() -> Path:
    """The folder for files of running servers: ``$XDG_RUNTIME_DIR/gym-service``, else ``run`` in ``state()``."""
    return _absolute("XDG_RUNTIME_DIR") or state() / "run"


def configuration() -> Path:
    """The folder for configuration and the token: ``gym-service`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    return _absolute("XDG_CONFIG_HOME") or Path(os.path.expanduser("~/.config/gym-service"))


def working() -> Path | None:
    """The working directory; None if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _absolute(variable: str) -> Path | None:
    # The XDG specification says to ignore a relative path.
    folder = os.environ.get(variable, "")
    return Path(folder) / "gym-service" if os.path.isabs(folder) else None
