"""Which keywords of ``make``, ``make_vec`` and ``service=`` type checkers accept and refuse. Read by mypy, never run.

``project.py lint`` checks this file: in a line that mypy accepts, the ``type: ignore`` is an error. ``project.py
release-check`` makes mypy and pyright read it, without these comments, against the installed wheel.
"""

from typing import TYPE_CHECKING, Any

import gymnasium

import gym_service

if TYPE_CHECKING:
    env: gym_service.RemoteEnv = gym_service.make(
        "X-v0", python="./sim", requires=["numpy"], render_mode="rgb_array", kwargs={"any": 1}
    )
    space: gymnasium.Space[Any] = env.observation_space
    envs: gym_service.RemoteVectorEnv = gym_service.make_vec("X-v0", 2, workers=2, autoreset_mode="SameStep")
    service: gym_service.EntryOptions = {"python": "./sim", "timeouts": {"step": 1.0, "reset": None}}

    gym_service.make("X-v0", pyhton="./sim")  # type: ignore[call-arg]
    gym_service.make("X-v0", python=3.10)  # type: ignore[arg-type]
    gym_service.make("X-v0", requires="numpy")  # type: ignore[arg-type]
    gym_service.make("X-v0", restart="always")  # type: ignore[arg-type]
    gym_service.make("X-v0", timeouts={"stp": 1.0})  # type: ignore[arg-type]
    gym_service.make("X-v0", obs_type="state")  # type: ignore[call-arg]
    gym_service.make_vec("X-v0", 2, pyhton="./sim")  # type: ignore[call-arg]
    wrong: gym_service.EntryOptions = {"pyhton": "./sim"}  # type: ignore[typeddict-unknown-key]
