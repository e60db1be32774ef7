"""The adapter for a simulator that is itself a vector env: gym's and gymnasium's VectorEnv, EnvPool, Isaac Gym, gym3.

Knows the calls of a vector env, of today and before gym 0.26. Never knows the wire, and never splits a batch. Python
3.6 and up. It passes results on unchanged, except for the one conversion of a reset and of a step with four values.
"""

import numpy as np

from gym_service.protocol.array_likes import is_array_like, to_numpy
from gym_service.protocol.space_spec import describe
from gym_service.server import refusals
from gym_service.server.adapters import detection
from gym_service.server.adapters.done import TRUNCATED, says_yes
from gym_service.server.adapters.gymnasium import GymnasiumAdapter
from gym_service.server.adapters.resemblance import resembles


class VectorizedAdapter(GymnasiumAdapter):
    """Holds a vector env. Its calls are those of a single env, with a batch in each value."""

    def __init__(self, env, recipe):
        super().__init__(env, recipe["kwargs"].get("render_mode"), False)
        if recipe["max_episode_steps"] is not None:
            text = (
                "max_episode_steps = %r: %s is a vector env, whose time limit is its own\n  try: an argument in kwargs"
            )
            raise refusals.api_mismatch(text % (recipe["max_episode_steps"], detection.described(env)))
        self.num_envs = num_envs_of(env)

    def describe(self):
        """Everything that the client must know before the first reset, with the facts of the batch in ``vector``."""
        metadata = self.metadata()
        mode = metadata.get("autoreset_mode")
        mode = getattr(mode, "value", mode)
        single = {name: self._single(name) for name in ("observation_space", "action_space")}
        return dict(
            super().describe(),
            vector={
                "num_envs": self.num_envs,
                "single_observation_space": single["observation_space"],
                "single_action_space": single["action_space"],
                # The text of a mode; None if the simulator does not say, or says something else.
                "autoreset_mode": mode if isinstance(mode, str) else None,
            },
        )

    def _single(self, name):
        """The space of one env. If the simulator does not name it, its spaces are not batched (EnvPool, gym3)."""
        space = getattr(self.env, "single_" + name, None)
        space = getattr(self.env, name, None) if space is None else space
        if space is None:
            text = "%s is a vector env without an %s before its first reset"
            raise refusals.api_mismatch(text % (detection.described(self.env), name))
        return describe(space, "$.single_" + name)

    def reset(self, seed, options, *args, **more):
        """The result of the env's reset. An older env returns no info: then the observations and an empty info."""
        result = super().reset(seed, options, *args, **more)
        is_pair = type(result) is tuple and len(result) == 2
        if "options" in self._accepts or (is_pair and not resembles(self.env.observation_space, result)):
            return result
        return result, {}

    def even_out(self, result):
        """Four values as five; anything else unchanged."""
        return split_batch(result) if isinstance(result, (tuple, list)) and len(result) == 4 else result


def num_envs_of(env):
    """The number of its envs, an int. Raises Refused if it does not say."""
    config = getattr(env, "config", None)
    found = getattr(env, "num_envs", config.get("num_envs") if isinstance(config, dict) else None)
    try:
        return int(found)
    except (TypeError, ValueError) as error:
        raise refusals.api_mismatch(
            "%s is a vector env with num_envs = %r" % (detection.described(env), found)
        ) from error


def split_batch(result):
    """(observations, rewards, dones, infos) as five values.

    ``truncated`` is an array of bool, taken from ``TimeLimit.truncated`` in the infos: an array in a dict, or a flag in
    the info of each env. ``terminated`` is the dones unchanged, unless some of them are truncated: then it is an array
    of bool without those.
    """
    observations, rewards, dones, infos = result
    plain = np.asarray(to_numpy(dones)[0] if is_array_like(type(dones)) else dones)
    by_the_clock = _by_the_clock(infos, plain.shape) & (plain != 0)
    terminated = (plain != 0) & ~by_the_clock if by_the_clock.any() else dones
    return observations, rewards, terminated, by_the_clock, infos


def _by_the_clock(infos, shape):
    if isinstance(infos, dict):
        said = dict.get(infos, TRUNCATED)
        said = to_numpy(said)[0] if is_array_like(type(said)) else said
    elif isinstance(infos, (list, tuple)) and all(isinstance(info, dict) for info in infos):
        said = [says_yes(dict.get(info, TRUNCATED, False)) for info in infos]
    else:
        said = None
    flags = np.asarray(False if said is None else said)
    return flags.astype(bool) if flags.shape == shape and flags.dtype.kind in "biuf" else np.zeros(shape, bool)
