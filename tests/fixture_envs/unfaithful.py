"""``unfaithful:UnfaithfulEnv``: simulators with deliberate faults, each of which a check must find.

Most are correct in a bare process and wrong behind gym-service, which they recognise by the loaded modules. Gymnasium,
any version.
"""

import os
import signal
import sys
import threading

import gymnasium as gym
import numpy as np

FAULTS = {}
IS_BEHIND_A_BRIDGE = "gym_service" in sys.modules
CHANGED_STEP = 17


def fault(record):
    """Register a fault by its name, with the point at which it happens."""

    def registered(function):
        FAULTS[function.__name__] = record, function
        return function

    return registered


class UnfaithfulEnv(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, render_mode=None, wrong="", path=""):
        self.render_mode = render_mode
        self.wrong = wrong
        self.path = path
        self.seed = 0
        self.action_space = gym.spaces.Discrete(3)
        self.observation_space = gym.spaces.Dict(
            pixels=gym.spaces.Box(0, 255, (8, 8, 3), np.uint8), state=gym.spaces.Box(-9, 9, (2,), np.float32)
        )
        self.when("make")

    def when(self, record, *values):
        """Apply the fault if it belongs to this point."""
        due, wrong = FAULTS.get(self.wrong, ("", None))
        return wrong(self, *values) if due == record else values

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed = seed
        self.steps_done = 0
        self.when("reset", options)
        return self.observation(), {"options": options}

    def step(self, action):
        self.steps_done += 1
        observation, reward, info = self.when("step", self.observation(), 0.5 + int(action), {"a": 1, "b": 2.0})
        return observation, reward, bool(info.pop("ends", False)), False, info

    def observation(self):
        pixels = self.np_random.integers(0, 200, (8, 8, 3)).astype(np.uint8)
        return {"pixels": pixels, "state": self.np_random.random(2).astype(np.float32)}

    def render(self):
        return self.when("render", np.zeros((4, 4, 3), np.uint8))[0]


@fault("step")
def pixel(env, observation, reward, info):
    if env.steps_done == CHANGED_STEP + 1 and env.seed == 3:
        observation["pixels"][4, 5, 0] = 13 if IS_BEHIND_A_BRIDGE else 12
    return observation, reward, info


@fault("step")
def state(env, observation, reward, info):
    if IS_BEHIND_A_BRIDGE:
        observation["state"][1] = -observation["state"][1] * 0
    else:
        observation["state"][1] = 0
    return observation, reward, info


@fault("step")
def reward_type(env, observation, reward, info):
    return observation, np.float32(reward) if IS_BEHIND_A_BRIDGE else reward, info


@fault("step")
def dtype(env, observation, reward, info):
    if IS_BEHIND_A_BRIDGE:
        observation["state"] = observation["state"].astype(np.float64)
    return observation, reward, info


@fault("step")
def key_order(env, observation, reward, info):
    return observation, reward, {key: info[key] for key in sorted(info, reverse=IS_BEHIND_A_BRIDGE)}


@fault("step")
def lock(env, observation, reward, info):
    return observation, reward, dict(info, lock=threading.Lock())


@fault("step")
def no_form(env, observation, reward, info):
    return dict(observation, state=threading.Lock()), reward, info


@fault("step")
def outside(env, observation, reward, info):
    if env.steps_done == CHANGED_STEP + 1:
        observation["state"][1] = 9.5
    return observation, reward, info


@fault("step")
def of_another_dtype(env, observation, reward, info):
    return dict(observation, state=observation["state"].astype(np.float64)), reward, info


@fault("step")
def of_other_keys(env, observation, reward, info):
    return {"pixels": observation["pixels"], "stat": observation["state"]}, reward, info


@fault("step")
def no_array(env, observation, reward, info):
    return dict(observation, state=observation["state"].tolist()), reward, info


@fault("step")
def unseeded(env, observation, reward, info):
    return observation, reward, dict(info, noise=np.random.default_rng().random(40))


@fault("step")
def unseeded_ends(env, observation, reward, info):
    """Behind gym-service every third step ends an episode, otherwise every fifth, with its own info."""
    if env.steps_done % (3 if IS_BEHIND_A_BRIDGE else 5):
        return observation, reward, dict(info, noise=np.random.default_rng().random(3))
    return observation, np.float64(reward), {"b": 2.0, "ends": True, "why": "it was late"}


@fault("step")
def raises(env, *values):
    if env.steps_done == 5:
        raise ValueError("five is too many")
    return values


@fault("step")
def raises_there(env, *values):
    if env.steps_done == 5 and IS_BEHIND_A_BRIDGE:
        raise ValueError("five is too many")
    return values


@fault("step")
def crashes(env, *values):
    print("last words", flush=True)
    os._exit(7)


@fault("step")
def segfaults(env, *values):
    os.kill(os.getpid(), signal.SIGSEGV)


@fault("reset")
def raises_at_once(env, given):
    raise ValueError("not today")


@fault("make")
def space(env):
    env.action_space = gym.spaces.Discrete(4 if IS_BEHIND_A_BRIDGE else 3)


@fault("make")
def cannot_be_made(env):
    raise ValueError("no licence")


@fault("make")
def cannot_be_made_there(env):
    if IS_BEHIND_A_BRIDGE:
        raise ValueError("no licence")


@fault("reset")
def options(env, given):
    if given and IS_BEHIND_A_BRIDGE:
        raise TypeError("no options")


@fault("render")
def frame(env, picture):
    picture[1, 2, 0] = IS_BEHIND_A_BRIDGE
    return (picture,)


@fault("render")
def cannot_render(env, picture):
    raise RuntimeError("no display")


@fault("reset")
def leaves_a_process(env, given):
    # Another process starts it, so it is not a descendant of this one.
    with open(env.path, "w") as file:
        file.write(os.environ.get("GYM_SERVICE_CHECK", "") + "\n")
    with open(env.path + ".started") as file:
        file.read()


gym.register(id="Unfaithful-v0", entry_point="unfaithful:UnfaithfulEnv", disable_env_checker=True)
