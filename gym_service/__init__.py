"""A simulator in its own interpreter, an ordinary ``gymnasium.Env`` in yours.

    import gymnasium as gym, gym_service
    env = gym.make("gym_service/PushT-v0")        # envs.toml names the interpreter, which is started and supervised

Importing this package registers the ids of envs.toml. Everything else is loaded on first use. Client only: a server
never runs this file. Python 3.10 and up.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gym_service.factory.make import (
    make,
    make_registered,
    make_registered_vector,
    make_vec,
    register_on_import,
    use,
)

if TYPE_CHECKING:
    from gym_service import errors as errors
    from gym_service.client.env import RemoteEnv as RemoteEnv
    from gym_service.client.multi_agent import RemoteAECEnv as RemoteAECEnv
    from gym_service.client.multi_agent import RemoteParallelEnv as RemoteParallelEnv
    from gym_service.client.vector import RemoteVectorEnv as RemoteVectorEnv
    from gym_service.client.vectorized import RemoteVectorizedEnv as RemoteVectorizedEnv
    from gym_service.envs import SocketGymClient as SocketGymClient
    from gym_service.envs import SocketGymServer as SocketGymServer
    from gym_service.factory.multi_agent import make_aec as make_aec
    from gym_service.factory.multi_agent import make_parallel as make_parallel
    from gym_service.factory.options import EntryOptions as EntryOptions
    from gym_service.factory.options import TimeoutOptions as TimeoutOptions
    from gym_service.protocol.values import Opaque as Opaque
    from gym_service.traces.recorder import record_trace as record_trace

__version__ = "0.1.0"
__all__ = [
    "EntryOptions",
    "Opaque",
    "RemoteAECEnv",
    "RemoteEnv",
    "RemoteParallelEnv",
    "RemoteVectorEnv",
    "RemoteVectorizedEnv",
    "SocketGymClient",
    "SocketGymServer",
    "TimeoutOptions",
    "errors",
    "make",
    "make_aec",
    "make_parallel",
    "make_vec",
    "record_trace",
    "use",
]

_LAZY = {
    "EntryOptions": "gym_service.factory.options",
    "Opaque": "gym_service.protocol.values",
    "RemoteAECEnv": "gym_service.client.multi_agent",
    "RemoteEnv": "gym_service.client.env",
    "RemoteParallelEnv": "gym_service.client.multi_agent",
    "RemoteVectorEnv": "gym_service.client.vector",
    "RemoteVectorizedEnv": "gym_service.client.vectorized",
    "SocketGymClient": "gym_service.envs",
    "SocketGymServer": "gym_service.envs",
    "record_trace": "gym_service.traces.recorder",
    "TimeoutOptions": "gym_service.factory.options",
    "make_aec": "gym_service.factory.multi_agent",
    "make_parallel": "gym_service.factory.multi_agent",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("gym_service.errors")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Pickles and saved specs name these functions by the package, so that they can move between its files.
for _function in (make, make_registered, make_registered_vector, make_vec, use):
    _function.__module__ = __name__

register_on_import()
