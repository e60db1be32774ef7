"""The user's folders: configuration, state that outlives a run, and files of running servers.

Knows the XDG base directories, owners and modes. Never knows what is stored in the folders. Python 3.10 and up.

Another user may have put a folder, or a link, where ours belongs: $XDG_RUNTIME_DIR can be inherited (``sudo -E``), and
parents can be writable for all. Files in such a folder can be replaced, and a link in it can make us overwrite a file
of the user. So ``private`` checks a folder before it is used; without a folder of our own we do without its files. The
check holds for root too: it is root whose files are worth the most.
"""

import os
import stat
from pathlib import Path

from gym_service_launcher.standalone import interrupts

# The home of a user without one: $HOME is not set, and the user is not in the passwd database, as in some containers.
# Nothing exists below it and nothing can be created there, also by root. "~" itself would be a folder of that name.
NO_HOME = Path("/dev/null")


def state() -> Path:
    """The folder for state that outlives a run, such as logs: ``gym-service`` in $XDG_STATE_HOME or ~/.local/state."""
    return _absolute("XDG_STATE_HOME") or home() / ".local/state/gym-service"


def runtime_dir() -> Path:
    """The folder for files of running servers: ``$XDG_RUNTIME_DIR/gym-service``, else ``run`` in ``state()``."""
    return _absolute("XDG_RUNTIME_DIR") or state() / "run"


def configuration() -> Path:
    """The folder for configuration and the token: ``gym-service`` in ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    return _absolute("XDG_CONFIG_HOME") or home() / ".config/gym-service"


def home() -> Path:
    """The user's home; NO_HOME if the user has none."""
    found = os.path.expanduser("~")
    return Path(found) if os.path.isabs(found) else NO_HOME


def working() -> Path | None:
    """The working directory; None if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        interrupts.raise_if_from_handler(error)
        return None


def private(folder: Path, *, create: bool = True) -> Path:
    """A folder of gym-service that only this user can write to. Returns ``folder``.

    Args:
        folder: its path. If it belongs to this user and others can access it, it gets the mode 0700.
        create: whether to create it, and its parents, if it does not exist.

    Raises:
        OSError: it cannot be created or opened; it is a link; it, or the folder above it, belongs to another user; or
            others can replace it.
    """
    if create:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    above = os.stat(folder.parent)
    if above.st_uid not in (0, os.geteuid()) or (above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX):
        raise PermissionError(f"{folder.parent}: other users can replace the folders in it")
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{folder}: it belongs to user {found.st_uid}")
        if found.st_mode & 0o077:
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)
    return folder


def _absolute(variable: str) -> Path | None:
    # The XDG specification says to ignore a relative path.
    folder = os.environ.get(variable, "")
    return Path(folder) / "gym-service" if os.path.isabs(folder) else None
