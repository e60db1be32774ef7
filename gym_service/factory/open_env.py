"""Opens the env of an entry: starts its server or attaches to it, has the env made, and returns it.

Knows the launcher and the client. A server takes as long to import its half as this process takes for its own. So the
server is started first, and this module imports nothing slow before that. Never knows which kind of server it is.
Python 3.10 and up.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.processes.forked_copies import refuse_child
from gym_service_launcher.servers import kinds
from gym_service_launcher.servers.link import ServerLink

from gym_service.factory import per_env
from gym_service.factory.forked_making import refused_in_child
from gym_service.factory.progress import log

if TYPE_CHECKING:
    from gym_service.client.connection import Connection
    from gym_service.client.env import RemoteEnv
    from gym_service.client.vector import RemoteVectorEnv
    from gym_service.client.vectorized import RemoteVectorizedEnv
    from gym_service.factory.server_startup import PendingServer


# Above 40 lines: half of them are signature and docstring, which users read in one place.
def open_env(
    entry: Entry, kwargs: Mapping[str, Any], recreate: Callable[[], Any], *, windowed: bool = False
) -> "RemoteEnv":
    """Start the entry's server, or attach to the one at its address, and have it make the env.

    What the simulator makes decides: where that is a vector env, this is a RemoteVectorizedEnv.

    Blocks while a venv of ``requires`` is built, then until the env is made, at most ``entry.timeouts.start`` seconds.

    Args:
        entry: where the simulator runs and which env it is.
        kwargs: keywords for the simulator's env.
        recreate: makes the same env again; a pickled env is this callable.
        windowed: make it a WindowedEnv, which can show its frames here.

    Raises:
        ConfigError, ServerStartError, AuthError: there is no env; nothing is left behind.
        EnvError: the simulator raised while the env was made.
        CannotCross: a keyword or one of the env's spaces has no form on the wire.
    """
    pending, release = _pending_server(entry, kwargs), None
    try:
        from gym_service.client.env import RemoteEnv

        env_class: type[RemoteEnv] = RemoteEnv
        if windowed:
            from gym_service.client.human_env import WindowedEnv

            env_class = WindowedEnv
        pending.request_env()
        description = pending.wait_for_env()
        restarts = entry.restart == "on-reset"
        release = pending.keep_for_restart() if restarts else None
        given: dict[str, Any] = {
            "timeouts": _timeouts(entry, description),
            "recreate": recreate,
            "restart": partial(connect, entry, kwargs) if restarts else None,
            "at_close": release,
        }
        if "vector" in description:
            per_env.refuse_vector_env(entry, kwargs)
            env = cast("RemoteEnv", _vectorized(pending.connection, description, given))
        else:
            origin = {"entry": entry.name if entry.file else None, **pending.recipe}
            env = env_class(pending.connection, description, origin=origin, **given)
        pending.hand_over()
        return env
    except BaseException:
        pending.close(entry.timeouts.close)
        if release:
            release(0.0)
        raise


# Above 40 lines: half of them are signature and docstring, which users read in one place.
def open_vector_env(
    entry: Entry,
    kwargs: Mapping[str, Any],
    *,
    num_envs: int,
    workers: int,
    autoreset_mode: Any,
    recreate: "Callable[[], RemoteVectorEnv]",
) -> "RemoteVectorEnv":
    """Start the entry's workers and have each make its share of the envs, all at the same time.

    Blocks and raises as ``open_env``. ValueError: ``num_envs`` or ``autoreset_mode`` is not a valid one.
    """
    from gym_service.client.codec_selection import CodecSelector
    from gym_service.client.vector import AutoresetMode, RemoteVectorEnv, shares_of  # needs Gymnasium 1.0
    from gym_service.factory.server_startup import PendingServer, recipe_of

    mode = AutoresetMode(autoreset_mode)
    shares = shares_of(num_envs, workers)
    if len(shares) < num_envs:
        per_env.refuse_shared(entry)
    recipe = recipe_of(entry, kwargs)
    with ExitStack() as undo:
        pending_servers: list[PendingServer] = []
        for number, share in enumerate(shares):
            places = [per_env.Place(index, number, num_envs) for index in range(share.start, share.stop)]
            own = _recipe_of_share(recipe, places, mode.value)
            with started_server(per_env.entry_at(entry, places[0])) as started:
                worker = PendingServer(entry, started[0], own, announces=not pending_servers)
                pending_servers.append(worker)
                started.clear()
            undo.callback(worker.close)
        for pending in pending_servers:
            pending.request_env()
        # One for all workers, since they share a network link. The waits of the first one show how fast it is.
        selector = CodecSelector()
        descriptions = [
            pending.wait_for_env(selector, measures=pending is pending_servers[0]) for pending in pending_servers
        ]
        connections = [pending.connection for pending in pending_servers]
        given = {"autoreset_mode": mode, "timeouts": _timeouts(entry, descriptions[0]), "recreate": recreate}
        env = RemoteVectorEnv(connections, descriptions, shares, **given)
        for pending in pending_servers:
            pending.hand_over()
        undo.pop_all()
    return env


def _timeouts(entry: Entry, description: Mapping[str, Any]) -> dict[str, float]:
    """The limits of the calls: those of the entry, but for a simulator that stops at breakpoints only that of close."""
    target = description.get("target") if type(description) is dict else None
    is_debugged = type(target) is dict and target.get("is_debugged") is True
    return {"close": entry.timeouts.close} if is_debugged else asdict(entry.timeouts)


def _recipe_of_share(recipe: Mapping[str, Any], places: "Sequence[per_env.Place]", mode: str) -> dict[str, Any]:
    """The recipe of a worker's envs; ``each`` says in what they differ, if they do."""
    batch = {
        "count": len(places),
        "first_index": places[0].index,
        "num_envs": places[0].num_envs,
        "autoreset_mode": mode,
    }
    recipes = [per_env.recipe_at(recipe, place) for place in places]
    if any(per_env.differs(recipe[key]) for key in ("kwargs", "wrappers")):
        batch["each"] = [{key: one[key] for key in ("kwargs", "wrappers")} for one in recipes]
    return {**recipes[0], "batch": batch}


def _vectorized(
    connection: "Connection", description: dict[str, Any], given: Mapping[str, Any]
) -> "RemoteVectorizedEnv":
    """The vector env that a simulator has made. Raises NotImplementedError with a Gymnasium older than 1.0."""
    require_vector_envs()
    from gym_service.client.vectorized import RemoteVectorizedEnv

    return RemoteVectorizedEnv(connection, description, **given)


def require_vector_envs() -> None:
    """Raise NotImplementedError where the Gymnasium of this interpreter has no vector envs of today."""
    import gymnasium

    if int(gymnasium.__version__.partition(".")[0]) < 1:
        raise NotImplementedError(
            f"vector envs need gymnasium 1.0 or newer in the client's interpreter, which has {gymnasium.__version__}"
        )


@refused_in_child
def connect(entry: Entry, kwargs: Mapping[str, Any]) -> tuple["Connection", dict[str, Any]]:
    """The connection to a server that has made the env, and the env's description.

    Blocks and raises as ``open_env``.
    """
    pending = _pending_server(entry, kwargs)
    try:
        pending.request_env()
        description = pending.wait_for_env()
        pending.hand_over()
        return pending.connection, description
    except BaseException:
        pending.close()
        raise


def _pending_server(entry: Entry, kwargs: Mapping[str, Any]) -> "PendingServer":
    place = per_env.only_place(entry, kwargs)
    entry = per_env.entry_at(entry, place)
    with started_server(entry) as started:
        from gym_service.factory.server_startup import PendingServer, recipe_of

        # Before the server is taken: a wrapper that does not pickle raises here.
        recipe = per_env.recipe_at(recipe_of(entry, kwargs), place)
        pending = PendingServer(entry, started[0], recipe)
        started.clear()
        return pending


@contextmanager
def started_server(entry: Entry) -> Iterator[list[ServerLink]]:
    """Start the server of an entry, which loads its libraries while the block loads those of this process.

    The block is given a list of the server's link. A caller that takes the server over clears the list, and then
    ends the server itself. The server in the list is killed after the block.
    """
    untaken: list[ServerLink] = []
    process_id = os.getpid()  # a child that was forked before the link owned its stream has a copy of that
    try:
        # The link is in the list in the same step of the interpreter in which open_link returns it.
        untaken += map(kinds.open_link, [entry], [log])
        refuse_child(process_id)
        yield untaken
    finally:
        for link in untaken:
            link.close(0.0)
