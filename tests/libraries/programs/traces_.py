"""A full trace as a Minari data set: what Minari reads equals the trace, dtype by dtype and bit for bit.

``$GYM_SERVICE_ENVS`` names the entries, ``$MINARI_DATASETS_PATH`` a folder. Prints its findings as a line of JSON.
"""

import json
import tempfile

import gymnasium as gym
import minari
import numpy as np

import gym_service
from gym_service.traces import TraceReader
from gym_service.traces.minari_export import export_to_minari

SEEDS = (1, 2, 3)


def record(path, env_id):
    env = gym_service.record_trace(gym.make(env_id), path, full=True)
    env.action_space.seed(1)
    for seed in SEEDS:
        env.reset(seed=seed)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated
    env.close()


def episodes_of(path):
    """(observations, actions, rewards, terminations, truncations) of each episode."""
    episodes = []
    with TraceReader(path) as reader:
        for row in reader:
            if row.call == "reset":
                episodes.append(([row.results[0]], [], [], [], []))
            else:
                columns = (row.results[0], row.arguments[0], *row.results[1:4])
                for column, value in zip(episodes[-1], columns, strict=True):
                    column.append(value)
    return episodes


def stacked(values):
    if isinstance(values[0], dict):
        return {key: stacked([value[key] for value in values]) for key in values[0]}
    return np.stack([np.asarray(value) for value in values])


def is_same(left, right):
    if isinstance(left, dict):
        return set(left) == set(right) and all(is_same(left[key], right[key]) for key in left)
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def main():
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Pole-v1", "Reach-v3"):
            path = folder + "/a.trace"
            record(path, "gym_service/" + name)
            exported = export_to_minari(path, "trace/" + name)
            read = [
                (each.observations, each.actions, each.rewards, each.terminations, each.truncations)
                for each in minari.load_dataset(exported.dataset_id).iterate_episodes()
            ]
            ours = episodes_of(path)
            same = [
                all(is_same(stacked(one), other) for one, other in zip(left, right, strict=True))
                for left, right in zip(ours, read, strict=True)
            ]
            found[name] = {"episodes": exported.episodes, "steps": exported.steps, "same": same}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
