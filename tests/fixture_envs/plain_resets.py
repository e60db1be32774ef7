"""An env whose resets return one of many results after another. Gymnasium and gym, Python 3.6 and up."""

from collections import OrderedDict

import numpy as np

try:
    import gymnasium as gym
except ImportError:
    import gym


def results():
    """What resets return: pairs that a compiled reset can send, and everything near them."""
    observations = [np.arange(4).astype(code) for code in "?bBhHiIlLqQefdFD"]
    observations += [np.arange(4).astype(code) for code in (">i4", ">f8", "S3", "U2", "M8[s]", "m8[ms]")]
    observations += [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0)[::-2],
        np.array(2.5),
        np.zeros((0, 3), np.float32),
        np.full(3, np.nan),
        np.arange(1535, dtype=np.float64),
        np.arange(1536, dtype=np.float64),
        np.arange(30000, dtype=np.float64),
        np.int64(7),
        np.float32(0.1),
        np.bool_(True),
        7,
        0.1,
        True,
        None,
        "text",
        [1, 2],
        (np.zeros(2), 1),
        {"a": np.zeros(2), "b": 1},
    ]
    plain = np.arange(4.0)
    found = [(observation, {}) for observation in observations]
    found += [(plain, info) for info in ({"a": 1}, OrderedDict(), None, [], {"a": {}}, {1: 2})]
    found += [[plain, {}], (plain,), (plain, {}, 1), plain, None]
    return found + [(observation, {}) for observation in reversed(observations)]


class PlainResets(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)

    count_of_results = len(results())

    def __init__(self):
        self.number = -1

    def reset(self, seed=None, options=None):
        self.number += 1
        return results()[self.number % len(results())]

    def step(self, action):
        return np.zeros(2, np.float32), float(self.number), False, False, {}
