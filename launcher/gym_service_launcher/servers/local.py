"""Starts the server of an entry on this machine, in the entry's interpreter.

Knows entries, and where an interpreter comes from. Never knows how a server runs (``local_server.py``). Python 3.10 and
up.
"""

import time
from collections.abc import Callable
from pathlib import Path

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError, ServerStartError
from gym_service_launcher.interpreters.find import find_interpreter
from gym_service_launcher.servers.link import limit_advice
from gym_service_launcher.servers.local_server import LocalServer, started
from gym_service_launcher.standalone import interrupts


def start(entry: Entry, progress: Callable[[str], None]) -> LocalServer:
    """Start the server of an entry. Does not wait until it is up.

    Blocks while the interpreter is looked for, while a venv of ``requires`` is built, and while a fork server imports
    the simulator.

    Raises:
        ConfigError: the working directory or (as InterpreterNotFound) the interpreter does not exist.
        ServerStartError: it cannot be executed, the venv cannot be built, or the fork server took too long to import.
    """
    if entry.cwd is not None and not entry.cwd.is_dir():
        text = f"the working directory of {entry.name!r} is no folder: {entry.cwd}"
        raise ConfigError(f"{text}\n  try: another cwd, or none for yours", file=None, key="cwd")
    executable = _named_executable_of(entry, progress)
    try:
        if not entry.prefork:
            return _executed(entry, executable)
        from gym_service_launcher.servers import forked  # only these entries need it

        return forked.start(entry, executable)
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        argv = (str(executable),)
        text = f"the server of {entry.name!r} did not start: {error}\n  interpreter: {executable}"
        text += f"\n  try: {limit_advice(error) or f'{executable} --version'}"
        raise ServerStartError(text, argv=argv, interpreter=argv[0], exit_code=None, tail="") from error


def _named_executable_of(entry: Entry, progress: Callable[[str], None]) -> Path:
    """As ``executable_of``; its errors name the entry."""
    try:
        return executable_of(entry, progress)
    except ConfigError as error:
        if error.file:  # it says so already
            raise
        where = f'{entry.file}: envs."{entry.name}"' if entry.file else f'given in Python for "{entry.name}"'
        key = f'envs."{entry.name}".{error.key or "python"}'
        raise type(error)(f"{where}: {error}", file=str(entry.file) if entry.file else None, key=key) from error


def executable_of(entry: Entry, progress: Callable[[str], None]) -> Path:
    """The interpreter of an entry. Builds the venv of ``requires`` where it does not exist. Raises ConfigError."""
    assert entry.python, "an entry has an interpreter or an address"
    if not entry.builds_venv:
        return find_interpreter(entry.python, entry.folder)
    from gym_service_launcher.interpreters.venvs import provision  # only entries with ``requires`` need it

    return provision(entry, progress)


def _executed(entry: Entry, executable: Path) -> LocalServer:
    """A server that the guardian executes. Raises OSError."""
    started_at = time.monotonic()
    return LocalServer(entry, executable, *started(entry, executable, None), started_at=started_at)
