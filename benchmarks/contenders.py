"""The ways to step one env, and many at once, that the benchmarks compare.

Each is a context manager that gives a function to call once: it makes one step, or the reset that is due, and gives
the observation; or it gives something that takes its own time. Knows Gymnasium and gym-service as a user does. What
needs neither stands in ``bare``, ``floors``, ``pickle_bridge`` and ``sb3``. Python 3.10 and up.
"""

import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym

import gym_service
from benchmarks.children import started
from benchmarks.interleaved import Step
from benchmarks.simulators import ENVS, Simulator
from benchmarks.stepping import stepping, stepping_vector


@contextmanager
def in_process(simulator: Simulator) -> Iterator[Step]:
    """The env in this very process: what nothing can beat."""
    with simulator.make() as env:
        yield stepping(env)


@contextmanager
def remote(simulator: Simulator, transport: str = "unix", **given: Any) -> Iterator[Step]:
    """The env in a second process of this interpreter, through gym-service. An observation may be a lease."""
    with opened(simulator, transport=transport, **given) as env:
        yield stepping(env)


@contextmanager
def remote_copied(simulator: Simulator) -> Iterator[Step]:
    """The same, with each observation copied, as by a user who keeps thousands of them."""
    with opened(simulator) as env:
        step = stepping(env)
        yield lambda: copied(step())


@contextmanager
def remote_tcp(simulator: Simulator) -> Iterator[Step]:
    """The env of a server that stays, on loopback."""
    with serving() as address, gym_service.make(simulator.env_id, address=address, **simulator.keys) as env:
        yield stepping(env)


@contextmanager
def async_one(simulator: Simulator) -> Iterator[Step]:
    """Gymnasium's own way to a second process: AsyncVectorEnv with one env, its shared memory on."""
    with async_vector(simulator, 1) as step:
        yield step


@contextmanager
def sync_vector(simulator: Simulator, num_envs: int) -> Iterator[Step]:
    """Gymnasium's SyncVectorEnv: so many envs in this very process, one after another."""
    with _closing(gym.vector.SyncVectorEnv([simulator.make] * num_envs)) as step:
        yield step


@contextmanager
def async_vector(simulator: Simulator, num_envs: int) -> Iterator[Step]:
    """Gymnasium's AsyncVectorEnv: a process for each env, its shared memory on."""
    with _closing(gym.vector.AsyncVectorEnv([simulator.make] * num_envs, shared_memory=True)) as step:
        yield step


@contextmanager
def remote_vector(simulator: Simulator, num_envs: int, workers: int) -> Iterator[Step]:
    """So many envs in one or more processes of this interpreter, through gym-service."""
    with _closing(opened_vector(simulator, num_envs, workers=workers)) as step:
        yield step


def opened(simulator: Simulator, **given: Any) -> "gym_service.RemoteEnv":
    return gym_service.make(simulator.env_id, python=sys.executable, pythonpath=[str(ENVS)], **simulator.keys, **given)


def opened_vector(simulator: Simulator, num_envs: int, **given: Any) -> "gym_service.RemoteVectorEnv":
    return gym_service.make_vec(
        simulator.env_id, num_envs, python=sys.executable, pythonpath=[str(ENVS)], **simulator.keys, **given
    )


def copied(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: copied(part) for key, part in observation.items()}
    return observation.copy()


@contextmanager
def serving() -> Iterator[str]:
    """The address of a ``gym-service run`` whose interpreter has the envs of the benchmarks installed.

    It imports only what is, so this interpreter gets a venv of its own.
    """
    with tempfile.TemporaryDirectory(prefix="gym-bench-") as folder:
        venv.create(folder, symlinks=True)
        site = next(Path(folder).glob("lib/python*/site-packages"))
        ours = sysconfig.get_path("purelib")
        (site / "bench.pth").write_text(f"import site; site.addsitedir({ours!r})\n{ENVS}\n")
        argv = [sys.executable, "-m", "gym_service", "run", "--venv", folder, "--tcp", "127.0.0.1:0"]
        with started(argv) as server:
            yield server.line()
            server.process.terminate()


@contextmanager
def _closing(envs: Any) -> Iterator[Step]:
    try:
        yield stepping_vector(envs)
    finally:
        envs.close()
