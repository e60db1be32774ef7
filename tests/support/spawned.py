"""Passes an env to a spawned process, which opens it again.

Knows multiprocessing. Python 3.10 and up.
"""

import multiprocessing
from multiprocessing.queues import Queue

from gym_service import RemoteEnv
from support.faulty import act

Found = tuple[list[float], int]


def use(env: RemoteEnv, queue: "Queue[Found]") -> None:
    env.reset()
    queue.put(([act(env, "step", number)[1] for number in range(1, 50)], env.target["pid"]))
    env.close()


def in_spawned(env: RemoteEnv) -> Found:
    """The rewards of 49 steps in that process, and the pid of the server that gave them."""
    context = multiprocessing.get_context("spawn")
    queue: Queue[Found] = context.Queue()
    process = context.Process(target=use, args=(env, queue))
    process.start()
    found = queue.get(timeout=30)
    process.join()
    return found
