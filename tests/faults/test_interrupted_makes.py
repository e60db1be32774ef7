"""Exceptions of signal handlers at any line of ``gym.make``, the launcher included: they come out, and nothing is left.

Nothing: no server, no fork server, no record, no thread. A plain descriptor is left if the interrupt comes in one of
the few lines between its opening and its entry into a list; such descriptors are counted.
"""

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import pytest
from gym_service_launcher import user_dirs
from gym_service_launcher.processes import forkservers
from support import polling, procfs
from support.interrupts import KINDS, Tally, assert_unchanged, caught, interrupted_at
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

import gym_service

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

FORMS: dict[str, dict[str, Any]] = {
    "executed": {},
    "forked": {"prefork": True},
    "restart": {"prefork": True, "restart": "on-reset"},
    "stdio": {"transport": "stdio"},
}
# What a handler may raise, also as an error of the system.
RAISED = (*KINDS, BrokenPipeError)


class Left(NamedTuple):
    """What an env may leave."""

    processes: frozenset[int]
    records: frozenset[str]
    holders: int
    threads: int


def found_now() -> Left:
    holders = sum(len(fork_server.holders) for fork_server in forkservers._fork_servers.values())
    records = frozenset(os.listdir(user_dirs.runtime_dir()))
    return Left(frozenset(procfs.children(procfs.guardian_of())), records, holders, threading.active_count())


@contextmanager
def registered(form: str, folder: Path) -> Iterator[str]:
    """The id of an env of this form. Another env of the same fork server stays open meanwhile."""
    keys = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "entry_point": "small_steps:SmallEnv"}
    lines = [f"{key} = {value!r}".replace("True", "true") for key, value in {**keys, **FORMS[form]}.items()]
    file = folder / "envs.toml"
    file.write_text("\n".join(['[envs."Small-v0"]', *lines]))
    gym_service.use(file)
    kept = gym.make("gym_service/Small-v0")
    try:
        yield "gym_service/Small-v0"
    finally:
        kept.close()
        file.write_text("")
        gym_service.use(file)


def interrupt_makes(form: str, every: int, folder: Path) -> None:
    tally = Tally()
    with registered(form, folder) as env_id:
        gym.make(env_id).close()  # the first one imports modules
        gc.collect()
        before, fds = found_now(), len(procfs.open_fds())
        for number, point in enumerate(range(0, 20_000, every)):
            made: list[Any] = []
            with interrupted_at(point, RAISED[number % len(RAISED)]) as found:
                error = caught(lambda: made.append(gym.make(env_id)))  # noqa: B023
            assert_unchanged(error, found)
            if found.raised is None:
                made[0].close()
                break
            where = found.where
            del error, found  # the traceback holds what the functions had
            gc.collect()
            polling.until(lambda: found_now() == before, f"what there was before, after {where}", 5.0)
            tally["interrupts"] += 1
            tally["usable"] += 1
            tally["descriptors"] += len(procfs.open_fds()) - fds
            fds = len(procfs.open_fds())
    tally.check()
    # Some lines open a descriptor that the next one remembers. Pipes are plain descriptors for longer than sockets are.
    assert tally["descriptors"] <= 1 + tally["interrupts"] * (0.2 if form == "stdio" else 0.05)


@pytest.mark.parametrize(("form", "every"), [("executed", 997), ("forked", 397), ("restart", 509)])
def test_at_some_lines(form: str, every: int, tmp_path: Path) -> None:
    interrupt_makes(form, every, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_at_every_line(form: str, tmp_path: Path) -> None:
    interrupt_makes(form, 1, tmp_path)
