"""Exceptions of signal handlers at any line of a reset() that starts another server.

Afterwards the env is the failed one, whose next reset() starts a server, or a new one that refuses steps until a reset,
or the reset was sent. It is never a mixture, and no server is left. Lines of the start itself (``factory`` and the
launcher) are not counted: ``test_starts.py`` is about those. Knows the forms of env in ``small_forms.py``.
"""

import gc
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from gym_service_launcher.processes import pidfiles
from gymnasium.error import ResetNeeded
from support import polling
from support.interrupts import KINDS, OTHER, Late, caught, interrupted_at
from support.opened import TARGET
from support.paths import ENVS
from support.small_forms import FORMS, made
from support.targets import TARGETS

import gym_service
from gym_service import errors
from gym_service.client.restart_policy import RestartPolicy

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

CLIENT = ("gym_service.client",)


def kill_server(env: Any, step: Callable[[int], Any]) -> None:
    pid = env.target["pid"]
    os.kill(pid, signal.SIGKILL)
    polling.until_dead([pid])
    with pytest.raises(errors.ServerCrashed):
        step(OTHER)


def servers() -> list[int]:
    """The pids of the servers, without those of fork servers."""
    return [server.pid for server in pidfiles.list_servers() if not server.name.startswith("forkserver:")]


@pytest.mark.parametrize(
    ("name", "every"),
    [
        ("SmallTeam", 211),
        *[pytest.param(name, 1, marks=pytest.mark.long) for name in FORMS if "vector env" not in name],
    ],
)
def test_at_every_line(name: str, every: int) -> None:
    """A step that is answered answers its own action, and is the first one after a reset."""
    read, outcomes = FORMS[name].attribute, {"interrupts": 0, "refused": 0, "closed": 0, "answered": 0}
    with made(name, restart="on-reset", prefork=True) as (env, step):
        holder = getattr(env, "_remote", env)
        for point in range(every - 1, 5000, every):
            kill_server(env, step)
            holder._restart_policy = RestartPolicy()  # without a pause or a limit
            with interrupted_at(point, KINDS[point % len(KINDS)], modules=CLIENT) as found:
                error = caught(env.reset)
            assert error is found.raised, (found.where, error)
            if found.raised is None:
                break
            outcomes["interrupts"] += 1
            try:
                assert tuple(step(7)) == (1, 7), found.where
                outcomes["answered"] += 1
            except ResetNeeded:
                outcomes["refused"] += 1
            except (errors.ClosedError, errors.ServerCrashed):
                outcomes["closed"] += 1
            holder._restart_policy = RestartPolicy()
            env.reset()
            assert tuple(step(8)) == (1, 8), found.where
            assert read(env, "process_id") == env.target["pid"], found.where
            where = found.where
            del error, found
            gc.collect()
            polling.until(lambda: servers() == [env.target["pid"]], f"one server: {where}")
    print(outcomes)
    assert outcomes["interrupts"] > 1


def test_a_step_after_a_reset_that_restarted_and_was_interrupted_is_refused() -> None:
    """The interrupt comes as soon as the new server is there, before the reset is sent."""
    for name in ("SmallEnv", "SmallVectorEnv", "SmallTeam"):
        with made(name, restart="on-reset") as (env, step):
            kill_server(env, step)
            holder = getattr(env, "_remote", env)
            holder._start_again()
            for _ in range(2):
                with pytest.raises(ResetNeeded, match="reset"):
                    step(OTHER)
            env.reset()
            assert tuple(step(7)) == (1, 7)


TAKING_OVER = ("open_env", "open_vector_env")


@pytest.mark.parametrize(
    ("form", "every"),
    [("one", 5), *[pytest.param(form, 1, marks=pytest.mark.long) for form in ("one", "restart", "several")]],
)
def test_after_the_env_is_made_no_server_is_left(form: str, every: int) -> None:
    """The interrupts come at each line of the functions that take over an env which a server has just made."""
    make: Callable[..., Any] = gym_service.make_vec if form == "several" else gym_service.make
    given: dict[str, Any] = {"several": {"num_envs": 2, "workers": 2}, "restart": {"restart": "on-reset"}}.get(form, {})
    keys = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "prefork": True}
    interrupts = 0
    for point in range(every - 1, 1000, every):
        with interrupted_at(point, Late, modules=("gym_service.factory.open_env",), functions=TAKING_OVER) as found:
            error = caught(lambda: make("x", entry_point="small_steps:SmallEnv", **keys, **given).close())
        assert error is found.raised, (found.where, error)
        where, is_over = found.where, error is None
        del error, found  # the traceback holds what the functions had
        gc.collect()
        polling.until(lambda: not pidfiles.list_servers(), f"the end of the servers, after {where}", 5.0)
        if is_over:
            break
        interrupts += 1
    assert interrupts > 2
