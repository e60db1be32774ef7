"""Minari with a simulator in another interpreter: collects a data set, recovers its env, and plays it again.

``$GYM_SERVICE_ENVS`` names the entries, ``$MINARI_DATASETS_PATH`` a folder. Prints its findings as a line of JSON.
"""

import json

import gymnasium as gym
import minari
import numpy as np

import gym_service  # noqa: F401 - registers the ids

SEEDS = (1, 2, 3)
ABOUT = {"algorithm_name": "random", "code_permalink": "none", "author": "none", "author_email": "none"}


def collect():
    env = minari.DataCollector(gym.make("gym_service/Pole-v1"), record_infos=True)
    env.action_space.seed(1)
    for seed in SEEDS:
        env.reset(seed=seed)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated
    env.create_dataset("pole/random-v0", description="a test", **ABOUT)
    env.close()


def recovered():
    """Whether the recovered env repeats the recording, bit for bit."""
    dataset = minari.load_dataset("pole/random-v0")
    env = dataset.recover_environment()
    are_same = []
    for seed, episode in zip(SEEDS, dataset.iterate_episodes(), strict=True):
        seen = [env.reset(seed=seed)[0], *(env.step(action)[0] for action in episode.actions)]
        are_same.append(np.stack(seen).tobytes() == episode.observations.tobytes())
    env.close()
    return {"episodes": dataset.total_episodes, "steps": int(dataset.total_steps), "same": are_same}


if __name__ == "__main__":
    collect()
    print(json.dumps(recovered()))
