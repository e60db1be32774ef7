"""The adapter for gym 0.22 to 0.25: reset may take a seed and return an info, if it is asked to and knows how.

Never knows the wire. Python 3.6 and up. These versions are between two APIs: gym's own envs take ``seed``,
``return_info`` and ``options``, simulators of that time (LIBERO's, for one) often take none of them; so what the bare
env's reset takes is looked up once. Wrappers pass on what they are given.
"""

from gym_service.server.adapters.gym_021 import Gym021Adapter
from gym_service.server.adapters.gymnasium import reset_takes


class Gym025Adapter(Gym021Adapter):
    """Holds an env of gym 0.22 to 0.25."""

    def __init__(self, env, render_mode):
        super().__init__(env, render_mode)
        self._reset_takes = reset_takes(env.unwrapped)

    def takes_options(self):
        """Whether the bare env's reset takes options; the wrappers of these versions pass on what they are given."""
        return "options" in self._reset_takes

    def reset(self, seed, options):
        """(observation, info)."""
        given = {}
        if options is not None and "options" in self._reset_takes:
            given["options"], options = options, None
        if seed is not None and "seed" in self._reset_takes:
            given["seed"], seed = seed, None
        if "return_info" in self._reset_takes:
            given["return_info"] = True
        self.seed_and_check(seed, options)
        result = self.env.reset(**given)
        return result if "return_info" in given and len(result) == 2 else (result, {})
