"""The server's program: its path, and the command that runs it.

Knows where ``gym_service`` is installed. Never imports it. Python 3.10 and up.
"""

import importlib.util
import os
from pathlib import Path

from gym_service_launcher.errors import ConfigError
from gym_service_launcher.standalone.guardian import DUMP_SIGNAL

# The option of the server's program that takes its record, in which ``gym-service view`` says that somebody looks.
VIEWERS_OPTION = "--viewers"


def server_program() -> Path:
    """The path of the server's program, found without running any code of its package."""
    package = importlib.util.find_spec("gym_service")
    assert package
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "server" / "__main__.py"


def refuse_windows() -> None:
    """Raise ConfigError on Windows, which has neither Unix sockets to inherit nor process groups."""
    if os.name == "nt":
        raise ConfigError(
            "gym-service needs Linux or macOS: Windows can neither inherit a Unix socket nor stop a group of "
            "processes. WSL 2 is Linux.",
            file=None,
            key="",
        )


def server_argv(executable: Path, *channel: str) -> list[str]:
    """The command of a server. The contract of its program lists what ``channel`` can be."""
    # -u: what was printed last must not be lost in a crash.
    return [str(executable), "-u", str(server_program()), *channel, "--dump-signal", str(int(DUMP_SIGNAL))]
