"""Plays a multi-agent env, and describes every value that it returns, bit for bit and type for type.

Runs on both sides: imported by the tests, and by path inside a target, where it makes the env in its own process::

    PYTHON agent_play.py TASKS OUTPUT

A task is a dict: ``api`` ("parallel" or "aec"), ``entry_point``, ``kwargs``, ``seed``, ``steps``, ``render_every`` (0
for never). Actions are drawn from numpy's RandomState, which draws the same in every version. Python 3.6 and up.
"""

import importlib
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def play(env, task, trajectory):
    """The moments of a run: [where, path, kind, content]. ``trajectory`` is gym_service.testing's module."""
    return list((_parallel if task["api"] == "parallel" else _aec)(env, task, trajectory))


def _parallel(env, task, trajectory):
    draw = np.random.RandomState(task["seed"])
    observations, live, episode = None, [], 0
    for number in range(task["steps"]):
        where = "step %d" % number
        if not live:
            observations, infos = env.reset(seed=task["seed"]) if episode % 2 == 0 else env.reset()
            yield from _moments("reset %d" % episode, trajectory, observations=observations, infos=infos)
            episode += 1
            live = list(env.agents)
        actions = {agent: action_of(env.action_space(agent), observations.get(agent), {}, draw) for agent in live}
        observations, rewards, terminations, truncations, infos = env.step(actions)
        given = {"observations": observations, "rewards": rewards, "terminations": terminations}
        given.update(truncations=truncations, infos=infos, agents=env.agents)
        yield from _moments(where, trajectory, **given)
        if hasattr(env, "state_space") and number % 5 == 0:
            yield from _moments(where, trajectory, state=env.state())
        yield from _frame(env, task, number, trajectory)
        live = list(env.agents)


def _aec(env, task, trajectory):
    draw = np.random.RandomState(task["seed"])
    env.reset(seed=task["seed"])
    for number in range(task["steps"]):
        where = "turn %d" % number
        if not env.agents:
            env.reset()
        agent, last = env.agent_selection, env.last()
        yield from _moments(where, trajectory, agent=agent, last=last, agents=env.agents)
        given = {name: getattr(env, name) for name in ("rewards", "_cumulative_rewards", "terminations", "infos")}
        yield from _moments(where, trajectory, truncations=env.truncations, **given)
        if number % 5 == 0:
            other = env.agents[-1]
            yield from _moments(where, trajectory, of_another=env.observe(other))
        observation, _, terminated, truncated, info = last
        is_over = terminated or truncated
        env.step(None if is_over else action_of(env.action_space(agent), observation, info, draw))
        yield from _frame(env, task, number, trajectory)


def action_of(space, observation, info, draw):
    """An action from the space that the action mask, if there is one, allows."""
    mask = observation.get("action_mask") if isinstance(observation, dict) else None
    mask = info.get("action_mask") if mask is None else mask
    if hasattr(space, "n"):
        legal = np.arange(int(space.n)) if mask is None else np.flatnonzero(mask)
        return int(legal[draw.randint(len(legal))]) + int(getattr(space, "start", 0))
    return (space.low + (space.high - space.low) * draw.random_sample(space.shape)).astype(space.dtype)


def _frame(env, task, number, trajectory):
    if task["render_every"] and number % task["render_every"] == 0:
        yield from _moments("frame %d" % number, trajectory, frame=env.render())


def _moments(where, trajectory, **given):
    for name in sorted(given):
        for item in trajectory.items(given[name], "$." + name):
            yield [where, *item[:3]]


def made(task):
    """The env of a task, in this process."""
    module, _, path = task["entry_point"].partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        if not hasattr(found, name):
            importlib.import_module("%s.%s" % (found.__name__, name))
        found = getattr(found, name)
    return found(**task["kwargs"])


def main(tasks, output):
    folder = os.path.join(HERE, "..", "..", "gym_service", "testing", "in_target")
    sys.path[:] = [folder, *[path for path in sys.path if os.path.abspath(path or os.curdir) != HERE]]
    import trajectory

    with open(tasks) as file:
        given = json.load(file)
    plays = []
    for task in given:
        env = made(task)
        plays.append(play(env, task, trajectory))
        env.close()
    with open(output, "w") as file:
        json.dump(plays, file)


if __name__ == "__main__":
    main(*sys.argv[1:3])
