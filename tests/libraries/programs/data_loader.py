"""PyTorch's DataLoader with a simulator in each of its workers: ``PYTHON data_loader.py fork|spawn|forkserver``.

``$GYM_SERVICE_ENVS`` names the entries. Prints its findings as one line of JSON.
"""

import hashlib
import json
import sys

import gymnasium as gym
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import gym_service  # noqa: F401 - registers the ids
from gym_service.errors import ForkedError

POLE = "gym_service:gym_service/Pole-v1"
WORKERS, STEPS = 2, 60


def play(env, seed):
    """Observations of a seeded run."""
    observation, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    yield observation
    for _ in range(STEPS):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        yield observation
        if terminated or truncated:
            yield env.reset()[0]


class Play(IterableDataset):
    """Each worker makes its own env and plays it with its number as the seed."""

    def __iter__(self):
        worker = get_worker_info()
        with gym.make(POLE) as env:
            yield from (torch.as_tensor(each) for each in play(env, worker.id if worker else 0))


class OfParent(IterableDataset):
    """Steps an env that the parent has made, and reports what happens."""

    def __init__(self, env):
        self.env = env

    def __iter__(self):
        try:
            self.env.step(0)
        except ForkedError as error:
            yield str(error).partition("\n")[0]


def digest(batches):
    rows = sorted(row.tobytes() for batch in batches for row in np.asarray(batch))
    return hashlib.sha256(b"".join(rows)).hexdigest()


def main(method):
    own = []
    for seed in range(WORKERS):
        with gym.make(POLE) as env:
            own += list(play(env, seed))
    given = {"num_workers": WORKERS, "multiprocessing_context": method}
    found = {"alone": digest([own]), "two rounds": [digest(DataLoader(Play(), batch_size=8, **given)) for _ in "12"]}
    persistent = DataLoader(Play(), batch_size=8, persistent_workers=True, pin_memory=False, **given)
    found["persistent"] = [digest(persistent) for _ in "12"]
    # A consumer that stops in the middle leaves the workers, and their simulators, until the loader ends.
    for _, batch in zip(range(2), DataLoader(Play(), batch_size=8, **given), strict=False):
        found["first rows"] = len(batch)
    if method == "fork":
        with gym.make(POLE) as env:
            env.reset(seed=0)
            found["forked"] = list(DataLoader(OfParent(env), batch_size=None, num_workers=1))
            found["goes on"] = env.step(0)[1]
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
