"""The joint's other half: an entry in, an open env out.

Knows the launcher, and that the server of an entry takes as long to import its half as this process takes for its own:
so it is started first. Client only; Python 3.10 and up. Imports nothing that takes long before a server is on its way.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.servers import local

if TYPE_CHECKING:
    from gym_service.client.connection import Connection
    from gym_service.client.env import RemoteEnv
    from gym_service.client.vector import RemoteVectorEnv
    from gym_service.factory.server_startup import AnyLink, PendingServer


def open_env(entry: Entry, kwargs: Mapping[str, Any], recreate: "Callable[[], RemoteEnv]") -> "RemoteEnv":
    """Start the entry's server, or attach to the one at its address, and have it make the env.

    Blocks until the env is made, at most ``entry.timeouts.start`` seconds, and before that while a venv of
    ``requires`` is built.

    Args:
        entry: where the simulator lives and which env it is.
        kwargs: what the simulator's env is made with.
        recreate: makes the same env again; a pickled env is this callable.

    Raises:
        ConfigError, ServerStartError, AuthError: there is no env; nothing is left behind.
        EnvError, CannotCross: the simulator raised while the env was made, or one of its spaces cannot cross.
    """
    pending = _pending_server(entry, kwargs)
    from gym_service.client.env import RemoteEnv

    pending.request_env()
    description = pending.wait_for_env()
    # So that the next server, if there must be one, is forked from the same nursery.
    hold = pending.hold.another() if pending.hold and entry.restart == "on-reset" else None
    try:
        return RemoteEnv(
            pending.connection,
            description,
            timeouts=asdict(entry.timeouts),
            recreate=recreate,
            restart=partial(connect, entry, kwargs) if entry.restart == "on-reset" else None,
            at_close=hold.release if hold else None,
        )
    except BaseException:
        pending.connection.close(entry.timeouts.close)
        if hold:
            hold.release(0.0)
        raise


def open_vector_env(
    entry: Entry, kwargs: Mapping[str, Any], *, num_envs: int, autoreset_mode: Any
) -> "RemoteVectorEnv":
    """Start the entry's workers and have each make its share of the envs, all at once.

    Blocks and raises as ``open_env``; ValueError where ``num_envs`` or ``autoreset_mode`` is none.
    """
    from gym_service.client.codec_selection import CodecSelector
    from gym_service.client.vector import AutoresetMode, RemoteVectorEnv, shares_of  # needs Gymnasium 1.0
    from gym_service.factory.server_startup import PendingServer, recipe_of

    mode = AutoresetMode(autoreset_mode)
    shares = shares_of(num_envs, entry.workers)
    recipe = recipe_of(entry, kwargs)
    with ExitStack() as undo:
        pending_servers: list[PendingServer] = []
        for share in shares:
            batch = {
                "count": share.stop - share.start,
                "first_index": share.start,
                "autoreset_mode": mode.value,
            }
            with started_server(entry) as links:
                pending_servers.append(PendingServer(entry, links.pop(), {**recipe, "batch": batch}))
            undo.callback(pending_servers[-1].connection.close, 0.0)
        for pending in pending_servers:
            pending.request_env()
        selector = (
            CodecSelector()
        )  # of them all, which share one link; what the first one waits for says how fast that is
        descriptions = [
            pending.wait_for_env(selector, measures=pending is pending_servers[0]) for pending in pending_servers
        ]
        connections = [pending.connection for pending in pending_servers]
        env = RemoteVectorEnv(connections, descriptions, shares, autoreset_mode=mode, timeouts=asdict(entry.timeouts))
        undo.pop_all()
    return env


def connect(entry: Entry, kwargs: Mapping[str, Any]) -> tuple["Connection", dict[str, Any]]:
    """A connection to a server that has made the env, and the env's description. Blocks and raises as ``open_env``."""
    pending = _pending_server(entry, kwargs)
    pending.request_env()
    return pending.connection, pending.wait_for_env()


def _pending_server(entry: Entry, kwargs: Mapping[str, Any]) -> "PendingServer":
    with started_server(entry) as links:
        from gym_service.factory.server_startup import PendingServer, recipe_of

        recipe = recipe_of(entry, kwargs)  # a wrapper may not pickle: not once the server is nobody's
        return PendingServer(entry, links.pop(), recipe)


@contextmanager
def started_server(entry: Entry) -> Iterator[list["AnyLink"]]:
    """A server that is on its way, in a list: whoever takes it out sees to its end. One that nobody takes is stopped.

    It loads its libraries while the block loads those of this process.
    """
    links = [_link_of(entry)]
    try:
        yield links
    finally:
        for link in links:
            for sock in (link.sock, link.arena_sock):
                if sock is not None:
                    sock.close()
            for fd in link.pipes or ():
                os.close(fd)
            link.close(0.0)


def _link_of(entry: Entry) -> "AnyLink":
    if entry.address:
        from gym_service_launcher.servers.attached import attach  # only who attaches pays for it

        return attach(entry, local.to_stderr)
    return local.launch(entry, local.to_stderr)
