"""The ways to step an env that the benchmarks compare: each a context manager that gives a function to call once.

Knows Gymnasium and gym-service as a user does. Python 3.10 and up.
"""

import multiprocessing
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym

import gym_service

Step = Callable[[], Any]
PING_BYTES = 64


@contextmanager
def in_process(env_id: str, **kwargs: Any) -> Iterator[Step]:
    """The env in this very process: what nothing can beat."""
    with gym.make(env_id, **kwargs) as env:
        yield stepper(env)


@contextmanager
def remote(env_id: str, transport: str, **kwargs: Any) -> Iterator[Step]:
    """The env in a second process of this interpreter, through gym-service."""
    with gym_service.make(env_id, python=sys.executable, transport=transport, **kwargs) as env:
        yield stepper(env)


@contextmanager
def async_vector(env_id: str, **kwargs: Any) -> Iterator[Step]:
    """Gymnasium's own way to a second process: AsyncVectorEnv with one env, its shared memory on."""
    envs = gym.vector.AsyncVectorEnv([lambda: gym.make(env_id, **kwargs)], shared_memory=True)
    try:
        envs.reset(seed=0)
        action = envs.action_space.sample()
        yield lambda: envs.step(action)
    finally:
        envs.close()


@contextmanager
def ping_pong() -> Iterator[Step]:
    """64 bytes there and back over a socketpair, both sides blocking: the floor of whatever wakes a process."""
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=_pong, args=(ours, theirs))
    process.start()
    theirs.close()
    message = b"x" * PING_BYTES

    def ping() -> None:
        ours.sendall(message)
        ours.recv(PING_BYTES)

    try:
        yield ping
    finally:
        ours.close()
        process.join()


def _pong(ours: socket.socket, theirs: socket.socket) -> None:
    ours.close()
    while message := theirs.recv(PING_BYTES):
        theirs.sendall(message)


def stepper(env: gym.Env) -> Step:
    """A function that steps with one fixed action, and resets at the end of an episode."""
    env.reset(seed=0)
    action = env.action_space.sample()

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    return step


@contextmanager
def sync_vector(env_id: str, num_envs: int) -> Iterator[Step]:
    """Gymnasium's SyncVectorEnv: so many envs in this very process, one after another."""
    with _stepping(gym.vector.SyncVectorEnv([lambda: gym.make(env_id)] * num_envs)) as step:
        yield step


@contextmanager
def async_vectors(env_id: str, num_envs: int) -> Iterator[Step]:
    """Gymnasium's AsyncVectorEnv: a process for each env, its shared memory on."""
    with _stepping(gym.vector.AsyncVectorEnv([lambda: gym.make(env_id)] * num_envs, shared_memory=True)) as step:
        yield step


@contextmanager
def remote_vector(env_id: str, num_envs: int, workers: int) -> Iterator[Step]:
    """So many envs in one or more processes of this interpreter, through gym-service."""
    with _stepping(gym_service.make_vec(env_id, num_envs, workers=workers, python=sys.executable)) as step:
        yield step


@contextmanager
def _stepping(envs: gym.vector.VectorEnv[Any, Any, Any]) -> Iterator[Step]:
    try:
        envs.reset(seed=0)
        envs.action_space.seed(0)
        action = envs.action_space.sample()
        yield lambda: envs.step(action)
    finally:
        envs.close()
