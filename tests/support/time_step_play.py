"""Plays an env of dm_env in its own process: directly, and through Shimmy.

    PYTHON time_step_play.py TASKS OUTPUT

A task is a dict: ``kind`` ("raw" or "shimmy"), ``entry_point``, ``kwargs``, ``seed_kwargs`` (the seed for the
constructor), ``seed`` (the seed for Shimmy's reset), ``steps``, ``render`` (None, or the physics' arguments). The
records: [where, path, kind, content]; a reward is a float, since Shimmy makes an int of 0.0. Python 3.8 and up.
"""

import importlib
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def actions(space, steps):
    """Actions of a gymnasium space or a dm_env spec, the same for both."""
    draw = np.random.RandomState(3)
    for _ in range(steps):
        count = getattr(space, "n", getattr(space, "num_values", None))
        if count is not None:
            yield int(draw.randint(int(count)))
        else:
            low, high = (getattr(space, one, getattr(space, two, None)) for one, two in _BOUNDS)
            yield low + (high - low) * draw.random_sample(space.shape)


_BOUNDS = (("low", "minimum"), ("high", "maximum"))


def records(where, observation, reward, terminated, truncated, discount, frame, trajectory):
    """The records of one result."""
    given = {"observation": observation, "discount": discount, "flags": [terminated, truncated], "frame": frame}
    given["reward"] = None if reward is None else float(reward)
    for name in sorted(given):
        for item in trajectory.items(given[name], "$." + name):
            yield [where, *item[:3]]


def play(env, task, trajectory):
    """Play through gymnasium's API: Shimmy's env, or gym-service's."""
    observation, info = env.reset(seed=task["seed"])
    yield from records("reset", observation, None, False, False, info["timestep.discount"], None, trajectory)
    for number, action in enumerate(actions(env.action_space, task["steps"])):
        observation, reward, terminated, truncated, info = env.step(action)
        frame = env.render() if task["render"] is not None and number % 4 == 0 else None
        discount = info["timestep.discount"]
        yield from records(number, observation, reward, terminated, truncated, discount, frame, trajectory)
        if terminated or truncated:
            env.reset()


def play_raw(env, task, trajectory):
    """Play the object itself: dicts stay dicts, each array passes through numpy.asarray."""
    found = env.reset()
    yield from records("reset", plain(found.observation), None, False, False, found.discount, None, trajectory)
    for number, action in enumerate(actions(env.action_spec(), task["steps"])):
        found = env.step(action)
        wanted = task["render"] is not None and number % 4 == 0
        frame = env.physics.render(**task["render"]) if wanted else None
        flags = found.last() and found.discount == 0, found.last() and found.discount != 0
        given = (plain(found.observation), found.reward, bool(flags[0]), bool(flags[1]), found.discount)
        yield from records(number, *given, frame, trajectory)
        if found.last():
            env.reset()


def plain(observation):
    if isinstance(observation, dict):
        return {key: plain(value) for key, value in observation.items()}
    return np.asarray(observation)


def shimmy_env(env, task):
    if hasattr(env, "physics"):
        from shimmy.dm_control_compatibility import DmControlCompatibilityV0

        render = {} if task["render"] is None else {"render_mode": "rgb_array", "render_kwargs": task["render"]}
        return DmControlCompatibilityV0(env, **render)
    from shimmy.bsuite_compatibility import BSuiteCompatibilityV0

    return BSuiteCompatibilityV0(env)


def main(tasks, output):
    folder = os.path.join(HERE, "..", "..", "gym_service", "testing", "in_target")
    sys.path[:] = [folder, *[path for path in sys.path if os.path.abspath(path or os.curdir) != HERE]]
    import trajectory

    with open(tasks) as file:
        given = json.load(file)
    plays = []
    for task in given:
        module, _, name = task["entry_point"].partition(":")
        creator = getattr(importlib.import_module(module), name)
        if task["kind"] == "raw":
            plays.append(list(play_raw(creator(**task["seed_kwargs"]), task, trajectory)))
        else:
            plays.append(list(play(shimmy_env(creator(**task["kwargs"]), task), task, trajectory)))
    with open(output, "w") as file:
        json.dump(plays, file)


if __name__ == "__main__":
    main(*sys.argv[1:3])
