"""Stands for a simulator of mujoco 3: with mujoco 4 a number of numpy is not equal to a member of its enums."""

import arms


class MjModel:
    """As in mujoco 4: without what older versions had."""


class Suite(arms.Reach):
    def __init__(self, **given):
        super().__init__(**given)
        assert 5 == MjModel  # noqa: SIM300


class OfModel(arms.Reach):
    def __init__(self, **given):
        super().__init__(**given)
        _ = MjModel().flex_vertedge
