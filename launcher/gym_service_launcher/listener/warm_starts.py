"""How a listener's servers are forked from a warm fork server (``gym-service run --keep-warm``).

Knows fork servers. Never knows clients. Python 3.10 and up.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from gym_service_launcher.processes import forkservers
from gym_service_launcher.processes.forkservers import AnyForkServer, Plan
from gym_service_launcher.servers import warm

T = TypeVar("T")


class WarmStarts:
    """A reference to the fork server of a plan. Where it cannot fork, servers start in the ordinary way."""

    def __init__(self, plan: Plan, name: str, start_s: float) -> None:
        """Start what is not there. ``start_s``: how long the imports may take. Raises OSError."""
        self._reference = forkservers.acquire(plan, name, warm.start)
        self._start_s = start_s

    def wait(self) -> str:
        """Wait for the imports. Returns why servers are not forked, or not kept; empty if all is well."""
        fork_server = self._reference.fork_server
        if not fork_server.wait(self._start_s):
            return f"its imports took longer than {self._start_s:g} s"
        return fork_server.problem or fork_server.not_kept

    def start(self, start: Callable[[AnyForkServer | None], T]) -> T:
        """Call ``start`` with the fork server, or with None where that fails. Raises what the latter raises.

        Never blocks for imports: after a change of a file they take place in another thread, and until they are done
        servers start in the ordinary way.
        """
        fork_server = self._reference.fork_server
        if fork_server.problem == "":
            try:
                return start(fork_server)
            except OSError as error:
                if fork_server.renew(error):
                    wait = threading.Thread(target=fork_server.wait, args=(self._start_s,), name="gym-service warm")
                    wait.daemon = True
                    wait.start()
        return start(None)

    def close(self) -> None:
        """Let go of it. It stays for the next program."""
        self._reference.release(0.0)
