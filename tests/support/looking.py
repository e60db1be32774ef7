"""A viewer without a page: looks at servers of this process as ``gym-service view`` does.

Knows the viewer's end of a look. Python 3.10 and up.
"""

import contextlib
import os
import select
from collections.abc import Callable, Iterator
from typing import Any

from gym_service_launcher.processes import pidfiles

from gym_service.viewer.observed import ObservedServer, View

# As many pictures as possible.
FPS = 100_000.0


def records(name: str = "") -> list[pidfiles.ServerInfo]:
    """The servers that this process has started."""
    servers = [server for server in pidfiles.list_servers() if server.client_pid == os.getpid()]
    return [server for server in servers if server.name == name or not name]


@contextlib.contextmanager
def looking(*, fps: float = FPS, count: int = 4) -> Iterator[ObservedServer]:
    """Look at the one server of this process."""
    (server,) = records()
    look = ObservedServer(server.record, fps=fps, count=count)
    try:
        yield look
    finally:
        look.close()


def seen(look: ObservedServer, call: Callable[[], Any], earlier: list[View] | None = None) -> View:
    """What the server shows after a call. Makes the call again until the server finds that a picture is due.

    ``earlier`` gets what came before.
    """
    found = everything(look)
    if earlier is not None:
        earlier += found
    poll = select.poll()
    poll.register(look, select.POLLIN)
    for _ in range(1000):
        look.renew()
        call()
        if poll.poll(50):
            view = look.receive()
            assert view
            return view
    raise AssertionError("the server has shown nothing")


def everything(look: ObservedServer) -> list[View]:
    """All that has come."""
    views = []
    while view := look.receive():
        views.append(view)
    return views
