"""Which kind of server an entry names.

Knows the three kinds, and loads only the one that is needed. Never knows what they do. Python 3.10 and up.
"""

from collections.abc import Callable

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.servers.link import ServerLink
from gym_service_launcher.servers.program import refuse_windows


def open_link(entry: Entry, progress: Callable[[str], None]) -> ServerLink:
    """Start the server of an entry, or attach to the one at its address. Does not wait until it is up.

    Blocks while the interpreter is looked for, while a venv of ``requires`` is built, and until a server listens at
    the address. ``progress`` is called with each line about what takes its time.

    Raises:
        ConfigError: a folder, a certificate or (as InterpreterNotFound) the interpreter does not exist.
        ServerStartError: the server cannot be started or reached.
        AuthError: the server at the address was refused, or it refused this client.
    """
    if entry.address:
        from gym_service_launcher.servers import attached

        return attached.attach(entry, progress)
    refuse_windows()
    if entry.is_remote and entry.builds_venv:
        from gym_service_launcher.servers import remote_venv

        return remote_venv.start(entry, progress)
    if entry.is_remote:
        from gym_service_launcher.servers import over_command

        return over_command.start(entry)
    from gym_service_launcher.servers import local

    return local.start(entry, progress)
