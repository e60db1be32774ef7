"""An EnvHub repository of LeRobot's that holds this one file: the simulator stays in an interpreter of its own.

    from lerobot.envs.factory import make_env
    envs = make_env("you/pusht", n_envs=2, trust_remote_code=True)      # {"gym_service": {0: a vector env}}

Who uses it installs `gym-service lerobot_env_gym_service` beside LeRobot, and uv, which builds the simulator's venv the
first time. LeRobot imports this file and calls make_env.
"""

from typing import Any

from lerobot_env_gym_service import GymServiceEnv

PUSHT = {
    "python": "3.10",
    "requires": ["gym-pusht==0.1.8", "pymunk==6.11.1", "gymnasium<1", "numpy<2"],
    "imports": ["gym_pusht"],
}


def make_env(n_envs: int = 1, use_async_envs: bool = False, cfg: Any = None) -> dict[str, dict[int, Any]]:
    """The vector env that LeRobot asks a hub repository for."""
    env = GymServiceEnv(task="gym_pusht/PushT-v0", service=PUSHT, kwargs={"obs_type": "pixels_agent_pos"})
    return env.create_envs(n_envs, use_async_envs)
