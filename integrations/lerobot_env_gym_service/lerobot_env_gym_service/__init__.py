"""LeRobot's env type ``gym_service``: any simulator in its own interpreter, without a patch of LeRobot.

LeRobot 0.6 imports this package by the name of its distribution when one of its commands starts; the import registers
the type. Older versions import it with ``--env.discover_packages_path=lerobot_env_gym_service``. Python 3.10 and up.
"""

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lerobot_env_gym_service.config import GymServiceEnv as GymServiceEnv

__all__ = ["GymServiceEnv"]


def __getattr__(name: str) -> Any:
    if name == "GymServiceEnv":
        from lerobot_env_gym_service.config import GymServiceEnv

        return GymServiceEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if importlib.util.find_spec("lerobot") is not None:
    from lerobot_env_gym_service.config import GymServiceEnv  # the import registers it with LeRobot
