"""What is measured: for each workload its contenders, and the floors that its figures are held against.

Knows the contenders by name. Never knows how they are timed or shown. Python 3.10 and up.

A workload is made when it is run, so that one that fits a machine's speed (``work``) can find it out.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from benchmarks import (
    async_env_pool,
    bare,
    busy,
    contenders,
    first_ready,
    floors,
    least,
    many,
    pickle_bridge,
    sb3,
    starts,
)
from benchmarks.interleaved import Clocked, Step
from benchmarks.simulators import ATARI, CAMERAS, CARTPOLE, FRAME, INFOS, NO_INFOS, UNEVEN, Simulator, work

Contender = Callable[[], AbstractContextManager[Step | Clocked]]

OURS, COPIED = "gym-service, unix", "gym-service, unix, copied"
WITHOUT = "gym-service, unix, no info"
STDIO, TCP = "gym-service, stdio", "gym-service, tcp"
ONE_WORKER, TWO_WORKERS = "gym-service, 1 worker", "gym-service, 2 workers"
ASYNC, SYNC, SB3 = "AsyncVectorEnv", "SyncVectorEnv", "SB3 SubprocVecEnv"
PICKLE, IN_PROCESS, LEAST = "pickles over TCP", "in-process", "least Python, unix"
SLEEPING, LOOKING, MEMCPY = "64 bytes, sleeping", "64 bytes, looking", "memcpy"
LOOP, BARE, ONE_BARE = "bare loop", "two bare processes", "one bare process"
START_BARE, START_GYMNASIUM = "gymnasium imported", "in-process, first reset"
START_SLOW, START_OURS_SLOW = "in-process, imports for 1 s", "gym-service, imports for 1 s"
START_OURS, START_FIRST = "gym-service, first reset", "gym-service, its server first"
START_TWO, START_TWO_FIRST = "two bare programs", "two bare programs, the other first"
START_SLOWER, START_WARM = "in-process, imports for 5 s", "gym-service, kept warm"
WORKER, PREFORKED = "1 worker", "16 workers, prefork"
READY, SENT = "gym-service, first ready", "gym-service, sent and received"
EIGHT_WORKERS, TORCHRL = "gym-service, 8 workers", "TorchRL AsyncEnvPool"
ONE_OPEN, MANY_OPEN, IN_TURN = "1 open", "64 open, one stepped", "64 open, each in turn"

# The envs of one client, and the workers that start at once.
MANY, MANY_WORKERS = 64, 16
WORK_S = 1e-3


@dataclass(frozen=True)
class Workload:
    """Some contenders that do the same."""

    title: str
    contenders: Mapping[str, Contender]
    # Env steps in one call, where what counts is how many of them make a second.
    env_steps: int = 1
    # What the first contender of ours takes cannot be less than these together.
    floors: tuple[str, ...] = ()
    # What goes on beside it.
    beside: Callable[[], AbstractContextManager[None]] = nullcontext
    # Contenders that give other observations than the rest at the same call, or none.
    differ: tuple[str, ...] = (SB3, SLEEPING, LOOKING, MEMCPY)


def cartpole() -> Workload:
    return Workload("CartPole, one step", _one_env(CARTPOLE) | _least_cartpole(), floors=(IN_PROCESS, LOOKING))


def cartpole_busy() -> Workload:
    few = {name: one for name, one in _one_env(CARTPOLE).items() if name not in (STDIO, TCP, SB3)}
    title = "CartPole, one step, the other core busy"
    return Workload(title, few | _least_cartpole(), beside=busy.other_cores)


def cartpole_sessions() -> Workload:
    title = "CartPole, one step, eight busy loops in other sessions"
    return Workload(title, _two(CARTPOLE) | _least_cartpole(), beside=busy.other_sessions)


def cartpole_turns() -> Workload:
    return Workload("CartPole, one step, four processes that run and sleep", _two(CARTPOLE), beside=busy.taking_turns)


def frame_sessions() -> Workload:
    return Workload("640×480×3, one step, eight busy loops in other sessions", _two(FRAME), beside=busy.other_sessions)


def atari() -> Workload:
    return _frames("210×160×3, one step", ATARI, 210 * 160 * 3)


def frame() -> Workload:
    return _frames("640×480×3, one step", FRAME, 640 * 480 * 3)


def cameras() -> Workload:
    return _frames("two cameras of 480×640×3 and 14 floats, one step", CAMERAS, 2 * 640 * 480 * 3)


def infos() -> Workload:
    few: dict[str, Contender] = {
        IN_PROCESS: lambda: contenders.in_process(INFOS),
        OURS: lambda: contenders.remote(INFOS),
        WITHOUT: lambda: contenders.remote(NO_INFOS),
        ASYNC: lambda: contenders.async_one(INFOS),
    }
    return Workload("17 numbers and an info of eight, one step", few)


def vector_8() -> Workload:
    return _vector(8)


def vector_32() -> Workload:
    return _vector(32)


def work_8() -> Workload:
    simulator = work(WORK_S)
    return Workload(
        "8 envs of 1 ms each, one step",
        {
            BARE: lambda: bare.processes(simulator, 8, 2),
            TWO_WORKERS: lambda: contenders.remote_vector(simulator, 8, 2),
            ASYNC: lambda: contenders.async_vector(simulator, 8),
            SYNC: lambda: contenders.sync_vector(simulator, 8),
        },
        env_steps=8,
        floors=(BARE,),
    )


def start() -> Workload:
    return Workload(
        "a fresh interpreter, to the first reset",
        {
            START_GYMNASIUM: lambda: starts.fresh_client(starts.IN_PROCESS),
            START_OURS: lambda: starts.fresh_client(starts.OURS),
            START_FIRST: lambda: starts.fresh_client(starts.OURS_FIRST),
            START_SLOW: lambda: starts.fresh_client(starts.IN_PROCESS_SLOW),
            START_OURS_SLOW: lambda: starts.fresh_client(starts.OURS_SLOW),
            START_BARE: lambda: starts.fresh_client(starts.IMPORTED),
            START_TWO: lambda: starts.fresh_client(starts.TWO),
            START_TWO_FIRST: lambda: starts.fresh_client(starts.TWO_FIRST),
        },
    )


def warm() -> Workload:
    return Workload(
        "a second program, whose simulator imports for 5 s, to the first reset",
        {
            START_SLOWER: lambda: starts.fresh_client(starts.IN_PROCESS_SLOW, starts.WARM_IMPORT_S),
            START_WARM: starts.second_program,
            START_BARE: lambda: starts.fresh_client(starts.IMPORTED),
            START_TWO: lambda: starts.fresh_client(starts.TWO),
            START_TWO_FIRST: lambda: starts.fresh_client(starts.TWO_FIRST),
        },
    )


def prefork() -> Workload:
    return Workload(
        "workers whose simulator imports for 2 s, to the first reset",
        {WORKER: lambda: starts.workers(1), PREFORKED: lambda: starts.preforked_workers(MANY_WORKERS)},
        floors=(WORKER,),
    )


def open_envs() -> Workload:
    return Workload(
        "CartPole in a client with many envs open, one step",
        {
            ONE_OPEN: lambda: many.client(1, 1),
            MANY_OPEN: lambda: many.client(MANY, 1),
            IN_TURN: lambda: many.client(MANY, MANY),
        },
        floors=(ONE_OPEN,),
    )


def first_ready_8() -> Workload:
    return Workload(
        "8 envs of 2 ms, in 5 % of 20 ms, sleeping: 8 env steps",
        {
            EIGHT_WORKERS: lambda: contenders.remote_vector(UNEVEN, 8, 8),
            READY: lambda: first_ready.received(UNEVEN, 8, 8, 4),
            ASYNC: lambda: contenders.async_vector(UNEVEN, 8),
            TORCHRL: lambda: async_env_pool.received(UNEVEN, 8, 4),
        },
        env_steps=8,
    )


def first_ready_light() -> Workload:
    return Workload(
        "32 CartPoles, 2 workers, one step of all",
        {
            TWO_WORKERS: lambda: contenders.remote_vector(CARTPOLE, 32, 2),
            SENT: lambda: first_ready.received(CARTPOLE, 32, 2, 32),
        },
        env_steps=32,
    )


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "cartpole": cartpole,
    "busy": cartpole_busy,
    "sessions": cartpole_sessions,
    "turns": cartpole_turns,
    "atari": atari,
    "frame": frame,
    "frame_sessions": frame_sessions,
    "cameras": cameras,
    "infos": infos,
    "vector8": vector_8,
    "vector32": vector_32,
    "work": work_8,
    "start": start,
    "warm": warm,
    "prefork": prefork,
    "open": open_envs,
    "first_ready": first_ready_8,
    "first_ready_light": first_ready_light,
}


def _one_env(simulator: Simulator) -> dict[str, Contender]:
    return {
        IN_PROCESS: lambda: contenders.in_process(simulator),
        OURS: lambda: contenders.remote(simulator),
        STDIO: lambda: contenders.remote(simulator, "stdio"),
        TCP: lambda: contenders.remote_tcp(simulator),
        ASYNC: lambda: contenders.async_one(simulator),
        SB3: lambda: sb3.subproc(simulator),
        PICKLE: lambda: pickle_bridge.bridged(simulator),
        SLEEPING: lambda: floors.ping_pong("sleeping"),
        LOOKING: lambda: floors.ping_pong("yielding"),
    }


def _two(simulator: Simulator) -> dict[str, Contender]:
    return {OURS: lambda: contenders.remote(simulator), ASYNC: lambda: contenders.async_one(simulator)}


def _least_cartpole() -> dict[str, Contender]:
    return {LEAST: lambda: least.least(CARTPOLE)}


def _frames(title: str, simulator: Simulator, size_bytes: int) -> Workload:
    more: dict[str, Contender] = {
        COPIED: lambda: contenders.remote_copied(simulator),
        MEMCPY: lambda: floors.memcpy(size_bytes),
    }
    return Workload(title, _one_env(simulator) | more, floors=(IN_PROCESS, LOOKING, MEMCPY))


def _vector(num_envs: int) -> Workload:
    many_envs: dict[str, Any] = {
        LOOP: lambda: bare.loop(CARTPOLE, num_envs),
        SYNC: lambda: contenders.sync_vector(CARTPOLE, num_envs),
        ONE_WORKER: lambda: contenders.remote_vector(CARTPOLE, num_envs, 1),
        TWO_WORKERS: lambda: contenders.remote_vector(CARTPOLE, num_envs, 2),
        ONE_BARE: lambda: bare.polled_process(CARTPOLE, num_envs),
        ASYNC: lambda: contenders.async_vector(CARTPOLE, num_envs),
        SB3: lambda: sb3.subproc(CARTPOLE, num_envs),
    }
    return Workload(f"{num_envs} CartPoles, one step", many_envs, env_steps=num_envs, floors=(LOOP,))
