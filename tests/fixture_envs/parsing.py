"""A simulator that parses its command line at import, with the parser that $PARSER names. Any Python."""

import os
import sys

SEEN = list(sys.argv)
FOUND = {}


def with_argparse():
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--task", default="none")
    return parser.parse_args().task


def with_absl():
    from absl import app, flags

    flags.DEFINE_string("task", "none", "")
    try:
        app.run(lambda argv: None)
    except SystemExit:
        pass
    return flags.FLAGS.task


def with_tyro():
    import tyro

    def task(task: str = "none") -> str:
        return task

    return tyro.cli(task)


FOUND["task"] = {"argparse": with_argparse, "absl": with_absl, "tyro": with_tyro}[
    os.environ.get("PARSER", "argparse")
]()

if "gymnasium" in sys.modules or sys.version_info >= (3, 8):
    try:
        import gymnasium as gym
    except ImportError:
        import gym
else:
    import gym


class ParsingEnv(gym.Env):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 0, 0.0, False, False, {}

    def seen(self):
        """sys.argv at the import, sys.argv now, and the task that was parsed."""
        return [SEEN, list(sys.argv), FOUND["task"]]
