"""Stands for a simulator of mujoco 3: in mujoco 4 a numpy number does not equal a member of its enums."""

import arms


class MjModel:
    """As in mujoco 4, without the attributes of older versions."""


class Suite(arms.Reach):
    def __init__(self, **given):
        super().__init__(**given)
        assert 5 == MjModel  # noqa: SIM300


class OfModel(arms.Reach):
    def __init__(self, **given):
        super().__init__(**given)
        _ = MjModel().flex_vertedge
