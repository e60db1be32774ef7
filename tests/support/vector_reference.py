"""Plays envs as a SyncVectorEnv inside their own interpreter, by path: a remote vector env must equal this.

Contract, like that of reference_run.py::

    PYTHON vector_reference.py TASKS OUTPUTS FOLDER

FOLDER contains reference_run.py. A task: ``recipe`` (see there), ``count`` (envs), ``mode`` (``NextStep``,
``SameStep``, ``Disabled``), ``seed``, ``actions`` (a list of lists, one action for each env), ``calls`` (name,
arguments: passed to ``SyncVectorEnv.call`` after the first reset) and ``cases`` (name, value: an attribute to set in
each env before the run; there is one run per case). Its output: one text for each call, in the form of
``trajectory.text``, or the exception that it raised.

If the interpreter has Gymnasium 1.1 or newer, its SyncVectorEnv plays. Older versions lack these modes; then a loop
with the same rules plays, and a test compares that loop with the real class. Python 3.6 and up.
"""

import copy
import importlib.util
import json
import os
import sys
import warnings

import numpy as np

MODES = NEXT_STEP, SAME_STEP, DISABLED = "NextStep", "SameStep", "Disabled"


def main(tasks_path, outputs_path, folder, real="real"):
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != os.path.dirname(__file__)]
    warnings.simplefilter("ignore")
    spec = importlib.util.spec_from_file_location("reference_run", os.path.join(folder, "reference_run.py"))
    reference_run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference_run)
    trajectory = reference_run.load_file("trajectory", reference_run.HERE, "trajectory.py")
    with open(tasks_path, encoding="utf-8") as file:
        tasks = json.load(file)
    outputs = [played(reference_run, trajectory, task, real == "real") for task in tasks]
    with open(outputs_path, "w", encoding="utf-8") as file:
        json.dump(outputs, file)


def played(reference_run, trajectory, task, use_real):
    """The texts of all calls."""
    recipe = dict(task["recipe"], kwargs=trajectory.from_data(task["recipe"]["kwargs"]))
    sides = [reference_run.made(dict(recipe)) for _ in range(task["count"])]
    modes = getattr(sys.modules.get("gymnasium.vector") or imported("gymnasium.vector"), "AutoresetMode", None)
    envs = real_one(sides, modes(task["mode"])) if use_real and modes else Synchronous(sides, task["mode"])
    return list(play(trajectory, envs, task))


def play(trajectory, envs, task):
    """The texts of a reset, of calls, of a step for each of ``actions``, and of a partial reset; once per case."""
    for name, value in task["cases"] or [("", None)]:
        if name:
            envs.set_attr(name, [trajectory.from_data(value)] * task["count"])
        yield from play_once(trajectory, envs, task)


def play_once(trajectory, envs, task):
    say = lambda call: outcome(trajectory, call)  # noqa: E731
    yield say(lambda: envs.reset(seed=task["seed"]))
    for name, args in task.get("calls", ()):
        yield say(lambda: envs.call(name, *trajectory.from_data(args)))  # noqa: B023
    for actions in task["actions"]:
        yield say(lambda: envs.step(batched([trajectory.from_data(action) for action in actions])))  # noqa: B023
    mask = np.arange(task["count"]) != 1
    yield say(lambda: envs.reset(options={"reset_mask": mask}))


def batched(actions):
    return np.array(actions) if not isinstance(actions[0], (tuple, dict)) else tuple(actions)


def outcome(trajectory, call):
    try:
        return trajectory.text(call())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side must see the same
        return raised(error)


def raised(error):
    """An error by the built-in type that it is or stands for, and the first line of its message."""
    name = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == "builtins")
    text = "" if name == "AssertionError" else (str(error).splitlines() or [""])[0]  # of which episode is over
    return "raised %s: %s" % (getattr(error, "type_name", name), text)


def imported(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def real_one(sides, mode):
    gymnasium = importlib.import_module("gymnasium")

    class Evened(gymnasium.Env):
        """An env with today's reset and step, whatever API it has."""

        def __init__(self, side):
            self.side = side
            self.observation_space, self.action_space = side.env.observation_space, side.env.action_space
            self.metadata = dict(getattr(side.env, "metadata", None) or {})
            self.render_mode = side.render_mode

        def reset(self, *, seed=None, options=None):
            return self.side.reset(seed, options)

        def step(self, action):
            return self.side.step(action)

        def __getattr__(self, name):
            return getattr(self.side.env.unwrapped, name)

        def set_wrapper_attr(self, name, value, *, force=True):
            setattr(self.side.env.unwrapped, name, value)

    makers = [lambda side=side: Evened(side) for side in sides]
    return gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode)


class Synchronous:
    """The rules of Gymnasium 1.4's SyncVectorEnv, for interpreters that lack it."""

    def __init__(self, sides, mode):
        self.sides, self.mode, self.count = sides, mode, len(sides)
        self.space = sides[0].env.observation_space
        self.observations = [None] * self.count
        self.rewards = np.zeros(self.count, np.float64)
        self.ends = np.zeros(self.count, np.bool_), np.zeros(self.count, np.bool_)
        self.over = np.zeros(self.count, np.bool_)

    def call(self, name, *args):
        found = [getattr(side.env.unwrapped, name) for side in self.sides]
        return tuple(one(*args) if callable(one) else one for one in found)

    def set_attr(self, name, values):
        for side, value in zip(self.sides, values):  # noqa: B905 - strict is of Python 3.10
            setattr(side.env.unwrapped, name, value)

    def reset(self, seed=None, options=None):
        mask = (options or {}).get("reset_mask", np.ones(self.count, np.bool_))
        for flags in (*self.ends, self.over):
            flags[mask] = False
        infos = {}
        for index in np.flatnonzero(mask):
            self._reset_one(index, infos, None if seed is None else seed + int(index))
        return self._whole(), infos

    def step(self, actions):
        infos = {}
        for index, action in enumerate(actions):
            if self.over[index] and self.mode == DISABLED:
                raise AssertionError("an episode is over")
            if self.over[index] and self.mode == NEXT_STEP:
                self._reset_one(index, infos)
                self.rewards[index], self.ends[0][index], self.ends[1][index] = 0.0, False, False
                continue
            result = self.sides[index].step(action)
            self.observations[index], self.rewards[index], self.ends[0][index], self.ends[1][index], info = result
            if self.mode == SAME_STEP and (self.ends[0][index] or self.ends[1][index]):
                self._gather(infos, {"final_obs": self.observations[index], "final_info": info}, index)
                self._reset_one(index, infos)
            else:
                self._gather(infos, info, index)
        whole = self._whole()
        self.over = np.logical_or(*self.ends) if self.mode != SAME_STEP else self.over
        return (whole, self.rewards.copy(), self.ends[0].copy(), self.ends[1].copy(), infos)

    def _reset_one(self, index, infos, seed=None):
        self.observations[index], info = self.sides[index].reset(seed, None)
        self._gather(infos, info, index)

    def _whole(self):
        return copy.deepcopy(concatenated(self.space, self.observations))

    def _gather(self, infos, info, index):
        for key, value in info.items():
            if key == "final_obs":
                infos.setdefault(key, np.full(self.count, None, object))[index] = value
            elif isinstance(value, dict):
                infos[key] = self._gather(infos.get(key, {}), value, index)
            else:
                if key not in infos:
                    infos[key] = column(value, self.count)
                infos[key][index] = value
            infos.setdefault("_%s" % (key,), np.zeros(self.count, np.bool_))[index] = True
        return infos


def column(value, count):
    """An array with one value per env, as ``VectorEnv._add_info`` would choose it."""
    if type(value) in (int, float, bool) or isinstance(value, np.number):
        return np.zeros(count, type(value))
    if isinstance(value, np.ndarray):
        return np.zeros((count, *value.shape), value.dtype)
    return np.full(count, None, object)


def concatenated(space, values):
    """The observations of all envs in one, by the rules of ``gymnasium.vector.utils.concatenate``."""
    kind = type(space).__name__
    if kind == "Dict":
        return {key: concatenated(part, [value[key] for value in values]) for key, part in space.spaces.items()}
    if kind == "Tuple":
        return tuple(concatenated(part, [value[at] for value in values]) for at, part in enumerate(space.spaces))
    if kind in ("Box", "Discrete", "MultiDiscrete", "MultiBinary"):
        out = np.zeros((len(values), *space.shape), space.dtype)
        return np.stack(values, axis=0, out=out)
    return tuple(values)


if __name__ == "__main__":
    main(*sys.argv[1:])
