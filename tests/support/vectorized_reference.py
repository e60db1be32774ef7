"""Plays a vectorised simulator in its own interpreter, by path: the remote env must equal this. Python 3.6 and up.

Contract, like that of reference_run.py::

    PYTHON vectorized_reference.py TASKS OUTPUTS FOLDER

FOLDER contains trajectory.py. A task: ``imports``, ``entry_point``, ``kwargs``, ``wrappers``, ``seed`` (null for a
reset without a seed), ``actions`` (data of ``trajectory.to_data``) and ``further`` (arguments of each step, in the same
form). Its output: the text of the results of the reset and of each step, unchanged.
"""

import importlib
import importlib.util
import json
import os
import sys
import warnings


def main(tasks_path, outputs_path, folder):
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != os.path.dirname(__file__)]
    warnings.simplefilter("ignore")
    spec = importlib.util.spec_from_file_location("trajectory", os.path.join(folder, "trajectory.py"))
    trajectory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trajectory)
    with open(tasks_path, encoding="utf-8") as file:
        outputs = [list(play(trajectory, made(trajectory, task), task)) for task in json.load(file)]
    with open(outputs_path, "w", encoding="utf-8") as file:
        json.dump(outputs, file)


def made(trajectory, task):
    """The vector env, inside its wrappers."""
    for name in task["imports"]:
        importlib.import_module(name)
    env = named(task["entry_point"])(**trajectory.from_data(task["kwargs"]))
    for wrapper in task["wrappers"]:
        env = named(wrapper)(env)
    return env


def named(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def play(trajectory, env, task):
    """The texts of a run. Runs on both sides."""
    begin = lambda seed, _: env.reset() if seed is None else env.reset(seed=trajectory.from_data(seed))  # noqa: E731
    further = trajectory.from_data(task["further"])
    reset, step = trajectory.following_observations(begin, lambda action: env.step(action, *further))
    yield trajectory.text(reset(task["seed"], None))
    for data in task["actions"]:
        yield trajectory.text(step(trajectory.from_data(data)))


if __name__ == "__main__":
    main(*sys.argv[1:])
