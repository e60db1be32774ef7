"""One env of gym-service, in the form that LeRobot expects.

Knows gym-service's public names, and the attributes that LeRobot reads from an env. Never imports LeRobot: this module
also runs in the workers of a vector env. Python 3.10 and up.
"""

from collections.abc import Mapping
from typing import Any, cast

import gymnasium
from gymnasium.error import NameNotFound

import gym_service
from gym_service import Opaque, RemoteEnv
from gym_service.errors import CannotCross
from lerobot_env_gym_service.renaming import Renaming

# LeRobot puts this into the options of reset() to tell its own wrappers that an evaluation starts.
NEW_ROLLOUT = "lerobot_new_rollout"
# Frames per second: LeRobot's own default for an env that states none.
FPS = 30
# Each of these keys says where the simulator is, so that no envs.toml is read.
SAYS_WHERE = ("python", "address", "command")

ADVICE = """
  try: --env.envs_file=./envs.toml, and a task of that file; or, without a file,
       --env.task=gym_pusht/PushT-v0 --env.service='{"python": "./sim_env", "imports": ["gym_pusht"]}'"""


# Above 40 lines: half of them are signature and docstring, which users read in one place.
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
    """Start a simulator and make its env. All arguments are plain data, so a partial of this can be pickled.

    Args:
        task: a key of envs.toml; or the id in the interpreter that ``service`` names.
        envs_file: the envs.toml; None to search for it as gym-service does.
        service: keys of gym-service, which replace those of the entry.
        kwargs: keyword arguments of the simulator.
        render_mode: the render mode of the simulator; None if it accepts none.
        rename: maps the simulator's names of observations to LeRobot's; see ``Renaming``.
        task_description: the instruction for a language-conditioned policy; None for that of the simulator.
        success_key: the key of the info that says whether the task is done.
        fps: frames per second of the videos; 0 for the rate of the simulator.

    Raises:
        ValueError: LeRobot cannot evaluate on the env; the text says what is missing, and what to try.
        ConfigError, ServerStartError, EnvError, NameNotFound: from ``gym_service.make`` and ``spec_of``.
    """
    given = {**(kwargs or {}), **({"render_mode": render_mode} if render_mode else {})}
    if says_where(service):
        merged = {**((service or {}).get("kwargs") or {}), **given}
        env: gymnasium.Env[Any, Any] = gym_service.make(task, **{**(service or {}), "kwargs": merged})
    else:
        env = gymnasium.make(spec_of(task, envs_file), service=dict(service or {}), **given)
    try:
        _check_limit(env)
        return LeRobotEnv(env, rename=rename, task_description=task_description, success_key=success_key, fps=fps)
    except BaseException:
        env.close()
        raise


def says_where(service: Mapping[str, Any] | None) -> bool:
    """Whether these keys alone say where the simulator is."""
    return any((service or {}).get(key) for key in SAYS_WHERE)


def spec_of(task: str, envs_file: str | None) -> Any:
    """The spec of an entry of envs.toml. Raises NameNotFound if there is no such entry."""
    if envs_file:
        gym_service.use(envs_file)
    env_id = f"gym_service/{task}"
    if env_id not in gymnasium.registry:
        known = [each.partition("/")[2] for each in gymnasium.registry if each.startswith("gym_service/")]
        text = f"{envs_file or 'envs.toml'} has no env {task!r}; it has: {', '.join(known)}"
        searched = "there is no envs.toml: not as $GYM_SERVICE_ENVS, in the working directory or in a parent folder"
        raise NameNotFound(f"{text if known or envs_file else searched}{ADVICE}")
    return gymnasium.spec(env_id)


def _check_limit(env: gymnasium.Env[Any, Any]) -> None:
    if env.get_wrapper_attr("_max_episode_steps") is None:
        raise ValueError(
            "this env has no time limit, but LeRobot must know the longest episode\n  try: --env.episode_length=300"
        )


class LeRobotEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds the attributes that LeRobot reads from an env. Changes no value that the simulator gives.

    Every env has ``task`` and ``task_description``: an AsyncVectorEnv whose envs lack them loses its workers when
    LeRobot reads them.
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
        # LeRobot needs a whole number as the rate of a video, and some simulators compute theirs: 1 / 0.02.
        self.metadata = {**env.metadata, "render_fps": round(float(fps or env.metadata.get("render_fps") or FPS)) or 1}

    @property
    def task(self) -> str:
        """The simulator's name of its task, else ``task_description``."""
        return self.env.get_wrapper_attr("task") if "task" in self._texts else self.task_description

    @property
    def task_description(self) -> str:
        """The user's description of the task, else the simulator's; empty if there is none."""
        if self._task_description is not None:
            return self._task_description
        name = next((name for name in ("task_description", "task") if name in self._texts), None)
        return self.env.get_wrapper_attr(name) if name else ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the simulator. Removes LeRobot's own option if the simulator's reset accepts no options."""
        if options and not self._takes_options:
            options = {name: value for name, value in options.items() if name != NEW_ROLLOUT} or None
        observation, info = self.env.reset(seed=seed, options=options)
        return self._renaming(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the simulator. Adds ``is_success`` to every info: LeRobot 0.4 fails if an episode ends without it.

        Raises CannotCross if the simulator's success is an object that only the simulator can read.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        is_success = info.get(self._success_key, False)
        if isinstance(is_success, Opaque):
            text = f"the simulator's info[{self._success_key!r}] is a {is_success.type_name}, which cannot cross"
            advice = "\n  try: let the simulator give a bool there, or another success_key"
            raise CannotCross(text + advice, path=f"$.info[{self._success_key!r}]", type_name=is_success.type_name)
        return self._renaming(observation), reward, terminated, truncated, {**info, "is_success": bool(is_success)}


def _is_text(env: gymnasium.Env[Any, Any], name: str) -> bool:
    """Whether the simulator has a string attribute of this name; in some of them ``task`` is an object."""
    try:
        return isinstance(env.get_wrapper_attr(name), str)
    except AttributeError:  # it does not exist, or cannot cross
        return False
