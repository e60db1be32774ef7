"""What users call for envs of several agents: ``make_parallel`` and ``make_aec``.

Knows the keywords of ``make``, and that such an entry is no single env. Client only; Python 3.10 and up. Imports
PettingZoo only once an env is made.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gym_service_launcher.config.entry import MULTI_AGENT_APIS, Entry
from gym_service_launcher.errors import ConfigError

from gym_service.factory.make import NOT_GIVEN, entry_and_kwargs, given_options, open_entry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gym_service.client.env import RemoteEnv
    from gym_service.client.multi_agent import RemoteAECEnv, RemoteParallelEnv
    from gym_service.factory.options import EntryOptions

PARALLEL, AEC = MULTI_AGENT_APIS


def make_parallel(
    env_id: str, *, render_mode: str | None = NOT_GIVEN, **options: "Unpack[EntryOptions]"
) -> "RemoteParallelEnv":
    """Make a ``pettingzoo.ParallelEnv`` in another interpreter. Needs PettingZoo on this side too.

    Args:
        env_id: with ``python``, ``command`` or ``address``, the id in PettingZoo's registry in that interpreter, unless
            ``entry_point`` says what makes the env. Else a key of envs.toml: the other keywords replace keys of that
            entry.
        render_mode: as in ``make``.
        options: as in ``make``, such as ``entry_point="mpe2:simple_spread_v3.parallel_env"``.

    Blocks as ``make`` does.

    Raises:
        ImportError: PettingZoo is not installed in this interpreter.
        EnvError: the simulator raised while the env was made, or the env is not a ParallelEnv.
        ConfigError, InterpreterNotFound, ServerStartError, AuthError, CannotCross: as in ``make``.
    """
    from gym_service.client.multi_agent import RemoteParallelEnv

    given = given_options(options, render_mode)
    return RemoteParallelEnv(_open(env_id, given, PARALLEL), partial(make_parallel, env_id, **given))


def make_aec(env_id: str, *, render_mode: str | None = NOT_GIVEN, **options: "Unpack[EntryOptions]") -> "RemoteAECEnv":
    """Make a ``pettingzoo.AECEnv`` in another interpreter. Arguments, blocking and errors as ``make_parallel``."""
    from gym_service.client.multi_agent import RemoteAECEnv

    given = given_options(options, render_mode)
    return RemoteAECEnv(_open(env_id, given, AEC), partial(make_aec, env_id, **given))


def _open(env_id: str, given: Mapping[str, Any], api: str) -> "RemoteEnv":
    entry, kwargs = entry_and_kwargs(env_id, given)
    _refuse(entry, api)
    return open_entry(replace(entry, api=api), kwargs, partial(_open, env_id, dict(given), api))


def _refuse(entry: Entry, api: str) -> None:
    """Raise ConfigError where the entry is of another API, or asks for what this API does not have."""
    file = str(entry.file) if entry.file else None
    if entry.api not in (None, api):
        advice = f"make_{entry.api}" if entry.api in MULTI_AGENT_APIS else "make"
        text = f'{entry.name!r} has api = "{entry.api}", which make_{api} cannot make\n  try: gym_service.{advice}'
        raise ConfigError(text, file=file, key="api")
    if entry.max_episode_steps is not None:
        text = (
            f"{entry.name!r}: envs of several agents have no time limit of a registry's\n"
            f"  try: kwargs = {{ max_cycles = {entry.max_episode_steps} }}, where the env takes it"
        )
        raise ConfigError(text, file=file, key="max_episode_steps")
