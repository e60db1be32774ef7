"""One env of gym-service as LeRobot wants an env to be.

Knows gym-service's public names, and by which names LeRobot asks an env for things. Never imports LeRobot: what is
here also runs in the workers of a vector env. Python 3.10 and up.
"""

from collections.abc import Mapping
from typing import Any, cast

import gymnasium
from gymnasium.error import NameNotFound

import gym_service
from gym_service import RemoteEnv
from lerobot_env_gym_service.renaming import Renaming

# With this in the options of reset() LeRobot tells its own wrappers that an evaluation begins.
NEW_ROLLOUT = "lerobot_new_rollout"
# LeRobot's own where an env states none; frames per second.
FPS = 30
# Each of these says by itself where the simulator lives, so that no envs.toml is looked at.
SAYS_WHERE = ("python", "address", "command")

ADVICE = """
  try: --env.envs_file=./envs.toml, and a task that stands in it; or, without any file,
       --env.task=gym_pusht/PushT-v0 --env.service='{"python": "./sim_env", "imports": ["gym_pusht"]}'"""


def make_one(
    *,
    task: str,
    envs_file: str | None = None,
    service: Mapping[str, Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    render_mode: str | None = "rgb_array",
    rename: Mapping[str, str] | None = None,
    task_description: str | None = None,
    success_key: str = "is_success",
    fps: int = 0,
) -> "LeRobotEnv":
    """Start a simulator and make its env. All arguments are plain data, so this can be pickled with them.

    Args:
        task: a key of envs.toml; or the id in the target, where ``service`` says which interpreter that is.
        envs_file: the envs.toml; None to look for it as gym-service does.
        service: keys of gym-service, laid over the entry.
        kwargs: for the simulator.
        render_mode: for the simulator; None where it takes none.
        rename: the simulator's names of its observations to LeRobot's; see ``Renaming``.
        task_description: what a policy that reads is told; None for what the simulator says.
        success_key: the key of the info that says whether the task is done.
        fps: frames per second of the videos; 0 for what the simulator says.

    Raises:
        ValueError: the env cannot be evaluated on; the text says what is missing, and what to try.
        ConfigError, ServerStartError, EnvError: as gym-service raises them.
    """
    given = {**(kwargs or {}), **({"render_mode": render_mode} if render_mode else {})}
    if says_where(service):
        options = dict(service or {})
        options["kwargs"] = {**(options.get("kwargs") or {}), **given}
        env: gymnasium.Env[Any, Any] = gym_service.make(task, **options)
    else:
        env = gymnasium.make(spec_of(task, envs_file), service=dict(service or {}), **given)
    try:
        _check_limit(env)
        return LeRobotEnv(env, rename=rename, task_description=task_description, success_key=success_key, fps=fps)
    except BaseException:
        env.close()
        raise


def says_where(service: Mapping[str, Any] | None) -> bool:
    """Whether these keys alone say where the simulator lives."""
    return any((service or {}).get(key) for key in SAYS_WHERE)


def spec_of(task: str, envs_file: str | None) -> Any:
    """The spec of an entry of envs.toml. Raises NameNotFound where it has none of this name."""
    if envs_file:
        gym_service.use(envs_file)
    env_id = f"gym_service/{task}"
    if env_id not in gymnasium.registry:
        known = [each.partition("/")[2] for each in gymnasium.registry if each.startswith("gym_service/")]
        text = f"{envs_file or 'envs.toml'} has no env {task!r}; it has: {', '.join(known)}"
        looked = "no envs.toml was found: looked for here, in the folders above, and where $GYM_SERVICE_ENVS points"
        raise NameNotFound(f"{text if known or envs_file else looked}{ADVICE}")
    return gymnasium.spec(env_id)


def _check_limit(env: gymnasium.Env[Any, Any]) -> None:
    if env.get_wrapper_attr("_max_episode_steps") is None:
        raise ValueError(
            "this env has no time limit, and LeRobot must know when an episode is over at the latest\n"
            "  try: --env.episode_length=300"
        )


class LeRobotEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds what LeRobot asks an env for, and changes no number that the simulator gives.

    ``task`` and ``task_description`` can be read of any env, since LeRobot asks for them in a way that ends the workers
    of an AsyncVectorEnv whose envs have none.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        *,
        rename: Mapping[str, str] | None = None,
        task_description: str | None = None,
        success_key: str = "is_success",
        fps: int = 0,
    ) -> None:
        super().__init__(env)
        self._takes_options = cast(RemoteEnv, env.unwrapped).target.get("takes_options", True)
        self._success_key = success_key
        self._task_description = task_description
        self._texts = {name for name in ("task", "task_description") if _is_text(env, name)}
        self._renaming = Renaming(env.observation_space, rename or {})
        self.observation_space = self._renaming.space
        # A video's rate is a whole number in LeRobot, and some simulators compute theirs: 1 / 0.02.
        self.metadata = {**env.metadata, "render_fps": round(float(fps or env.metadata.get("render_fps") or FPS)) or 1}

    @property
    def task(self) -> str:
        """What the simulator calls its task, or else ``task_description``."""
        return self.env.get_wrapper_attr("task") if "task" in self._texts else self.task_description

    @property
    def task_description(self) -> str:
        """What the user or else the simulator says of the task; empty where neither does."""
        if self._task_description is not None:
            return self._task_description
        name = next((name for name in ("task_description", "task") if name in self._texts), None)
        return self.env.get_wrapper_attr(name) if name else ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the simulator's. LeRobot's own option stays here where the simulator's reset takes no options."""
        if options and not self._takes_options:
            options = {name: value for name, value in options.items() if name != NEW_ROLLOUT} or None
        observation, info = self.env.reset(seed=seed, options=options)
        return self._renaming(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the simulator's, with ``is_success`` in every info: LeRobot 0.4 fails where an episode ends without it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        is_success = bool(info.get(self._success_key, False))
        return self._renaming(observation), reward, terminated, truncated, {**info, "is_success": is_success}


def _is_text(env: gymnasium.Env[Any, Any], name: str) -> bool:
    """Whether the simulator has a text of this name; ``task`` is an object in some."""
    try:
        return isinstance(env.get_wrapper_attr(name), str)
    except AttributeError:  # there is none, or it cannot cross
        return False
