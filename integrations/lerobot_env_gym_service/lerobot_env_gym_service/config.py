"""``--env.type=gym_service``: the options on LeRobot's command line, and the vector env that they make.

Knows LeRobot: it is the only module here that imports it. Python 3.10 and up.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

from lerobot_env_gym_service.features import features_of
from lerobot_env_gym_service.making import LeRobotEnv, make_one, says_where, spec_of

# The id that LeRobot gives to gymnasium.make if it makes the envs itself. The keywords say which env it is.
GYM_ID = f"{__package__}/Env"
gymnasium.register(GYM_ID, f"{make_one.__module__}:make_one", order_enforce=False, disable_env_checker=True)

# LeRobot before 0.6 makes the envs itself and reads the features afterwards.
MAKES_ENVS_ITSELF = not hasattr(EnvConfig, "create_envs")


@EnvConfig.register_subclass("gym_service")
@dataclass
class GymServiceEnv(EnvConfig):
    """An env of gym-service. Its features are those of its spaces, unless they are given.

    Args:
        task: a key of envs.toml; or, if ``service`` names the interpreter, the id of the env there.
        envs_file: the envs.toml; None to search for it in the working directory and its parents.
        service: keys of gym-service, which replace those of the entry: ``{"python": "./sim_env", "imports": […]}``.
        kwargs: keyword arguments of the simulator.
        render_mode: the render mode of the simulator, for the videos; None for a simulator that accepts none.
        episode_length: the time limit in steps, applied in the simulator; None for the registered one.
        task_description: the instruction for a language-conditioned policy; None for that of the simulator.
        success_key: the key of the info that says whether the task is done.
        rename: maps the simulator's names of observations to LeRobot's: ``{"image": "pixels"}``.
        fps: frames per second of the videos; 0 for the rate of the simulator.
        features: as in LeRobot; empty for all that the spaces have.
        features_map: the name under which a policy gets each feature; it overrides LeRobot's names.
    """

    envs_file: str | None = None
    service: dict[str, Any] = field(default_factory=dict)
    kwargs: dict[str, Any] = field(default_factory=dict)
    render_mode: str | None = "rgb_array"
    episode_length: int | None = None
    task_description: str | None = None
    success_key: str = "is_success"
    rename: dict[str, str] = field(default_factory=dict)
    fps: int = 0
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if MAKES_ENVS_ITSELF and self.task and not self.features:
            env = make_one(**self.gym_kwargs)
            try:
                self._take_from(env, env.observation_space, env.action_space)
            finally:
                env.close()

    @property
    def package_name(self) -> str:
        """The package that LeRobot imports if it does not find ``gym_id``."""
        return __package__

    @property
    def gym_id(self) -> str:
        """The id that LeRobot gives to gymnasium.make."""
        return GYM_ID

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """The keywords of ``make_one``: plain data, which names the env in any process."""
        if not self.task:
            raise ValueError("--env.task is missing: a key of envs.toml, such as PushT-v0")
        limit = {} if self.episode_length is None else {"max_episode_steps": self.episode_length}
        service = {**self.service, **limit}
        return {
            "task": self.task,
            # A worker may have another working directory and other environment variables.
            "envs_file": None if says_where(service) else spec_of(self.task, self.envs_file).kwargs["config"],
            "service": service,
            "kwargs": dict(self.kwargs),
            "render_mode": self.render_mode,
            "rename": dict(self.rename),
            "task_description": self.task_description,
            "success_key": self.success_key,
            "fps": self.fps,
        }

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> dict[str, dict[int, VectorEnv]]:
        """A vector env of ``n_envs`` simulators in their own processes. With ``use_async_envs`` they step in parallel.

        Raises:
            ValueError: LeRobot cannot use this env; the text says why. No simulator is left running.
            ConfigError, ServerStartError, EnvError: from ``gym_service.make``.
        """
        makers: list[Callable[[], LeRobotEnv]] = [partial(make_one, **self.gym_kwargs)] * n_envs
        envs: VectorEnv
        if use_async_envs and n_envs > 1:
            envs = AsyncVectorEnv(makers, context="forkserver", autoreset_mode=AutoresetMode.SAME_STEP)
        else:
            envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
        try:
            self._take_from(envs, envs.single_observation_space, envs.single_action_space)
        except BaseException:
            envs.close()
            raise
        return {self.type: {0: envs}}

    def _take_from(self, env: Any, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        """Set what was not given: the features, the names under which a policy gets them, the rate of the videos."""
        found = features_of(observation_space, action_space)
        if not self.features:
            self.features = {each.name: PolicyFeature(FeatureType[each.kind], each.shape) for each in found}
        self.features_map = {**{each.name: each.policy_name for each in found}, **self.features_map}
        self.fps = self.fps or env.metadata["render_fps"]
