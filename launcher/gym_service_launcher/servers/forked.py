"""Servers that a fork server forks: those of entries with ``prefork`` or ``keep_warm_s``.

Knows entries and fork servers. Never knows what travels on the stream. Python 3.10 and up.
"""

import time
from pathlib import Path

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ServerStartError
from gym_service_launcher.processes import forkservers
from gym_service_launcher.processes.forkservers import AnyForkServer
from gym_service_launcher.processes.guardian_client import SpawnerStopped
from gym_service_launcher.servers.fork_plan import plan_of
from gym_service_launcher.servers.link import LATE_ADVICE, late_start_reason
from gym_service_launcher.servers.local_server import LocalServer, Started, failed_start, started, state_and_stack
from gym_service_launcher.standalone import interrupts


def start(entry: Entry, executable: Path) -> LocalServer:
    """A server that the entry's fork server forks. Where that is impossible, it is executed as any other.

    Blocks while the fork server imports the simulator. Raises OSError, or ServerStartError if that takes too long.
    """
    started_at = time.monotonic()
    plan = plan_of(entry, executable)
    if entry.keep_warm_s is None:
        reference = forkservers.acquire(plan, entry.name)
    else:
        from gym_service_launcher.servers import warm  # only these entries need it

        reference = forkservers.acquire(plan, entry.name, warm.start)
    try:
        given, problem = _forked_by(reference.fork_server, entry, executable)
        return LocalServer(entry, executable, *given, fork_server=reference, not_forked=problem, started_at=started_at)
    except BaseException:
        reference.release(0.0)
        raise


def _forked_by(fork_server: AnyForkServer, entry: Entry, executable: Path) -> tuple[Started, str]:
    """A server of this fork server; or else one that is executed, and why."""
    deadline = time.monotonic() + entry.timeouts.start
    while True:
        if not fork_server.wait(max(0.0, deadline - time.monotonic())):
            raise _late_import(fork_server, entry, executable)
        if problem := fork_server.problem or "":
            return started(entry, executable, None), problem
        try:
            return started(entry, executable, fork_server), ""
        except SpawnerStopped:
            return started(entry, executable, None), f"its fork server, process {fork_server.pid}, is stopped"
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            if fork_server.renew(error):
                continue
            if entry.keep_warm_s is None:
                raise
            return started(entry, executable, None), f"its warm fork server forks nothing: {error}"


def _late_import(fork_server: AnyForkServer, entry: Entry, executable: Path) -> ServerStartError:
    child = fork_server.child
    if child is None:
        reason = f"its warm fork server, which another program started, was not ready after {entry.timeouts.start:g} s"
        text = f"the server of {entry.name!r} did not start: {reason}\n  interpreter: {executable}"
        text += f"\n  try: {LATE_ADVICE}; or gym-service stop --warm"
        return ServerStartError(text, argv=(str(executable),), interpreter=str(executable), exit_code=None, tail="")
    reason = late_start_reason(entry.timeouts.start, *state_and_stack(child))
    child.stop(0.0, 0.0)
    return failed_start(entry, executable, child, reason, LATE_ADVICE, child.tail())
