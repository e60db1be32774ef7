"""The adapter for gym up to 0.21: reset returns the observation alone, env.seed() seeds, render() takes the mode.

Never knows the wire. Python 3.6 and up.
"""

import warnings

from gym_service.server.adapters.gymnasium import GymnasiumAdapter


class Gym021Adapter(GymnasiumAdapter):
    """Holds an env of gym up to 0.21. ``TimeLimit.truncated`` stays in the info; reset's info is empty."""

    makes_with_render_mode = False

    def reset(self, seed, options):
        """(observation, {}). Without a seed, ``env.seed`` is not called."""
        self.seed_and_check(seed, options)
        return self.env.reset(), {}

    def takes_options(self):
        """Never: there were none."""
        return False

    def seed_and_check(self, seed, options):
        """Do what reset cannot do here, and refuse what cannot be done at all."""
        if options:
            raise ValueError(
                "reset(options=%r): this env is of %s, whose reset() takes no options"
                % (options, self._target()["api"])
            )
        if seed is not None:
            self.env.seed(seed)

    def render(self):
        """What the env renders in the client's mode; None with a warning where it named none, as Gymnasium does."""
        if self.render_mode is None:
            warnings.warn(
                "render() was called on an env that was made without a render_mode; it returns None", stacklevel=2
            )
            return None
        return self.env.render(mode=self.render_mode)

    def metadata(self):
        """The env's metadata, with Gymnasium's names beside the old ones."""
        metadata = super().metadata()
        for new, old in (("render_modes", "render.modes"), ("render_fps", "video.frames_per_second")):
            if old in metadata:
                metadata.setdefault(new, metadata[old])
        return metadata
