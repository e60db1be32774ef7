"""The joint: from ``gym.make`` through the launcher to a connection and the env on it.

Knows the keywords of ``make``, and envs.toml. Client only; Python 3.10 and up. At import it loads no more than the
launcher's reading of envs.toml, not even Gymnasium, so that ``import gym_service`` stays quick and cannot fail for what
stands in a file.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import envs_file
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.spelling import nearest

from gym_service.factory.import_hook import on_import

if TYPE_CHECKING:
    from gym_service.client.env import RemoteEnv
    from gym_service.client.vector import RemoteVectorEnv

NAMESPACE = "gym_service"
# Each of these says by itself where the simulator lives, so that make() looks at no envs.toml.
LOCATION_KEYS = ("python", "address", "command")


def use(path: str | os.PathLike[str] | None = None) -> list[str]:
    """Register the entries of an envs.toml as ``gym_service/<key>``, in place of those registered before.

    Args:
        path: the file; None to look for it: ``$GYM_SERVICE_ENVS``, ``envs.toml`` here or in a parent folder, the
            user's config folder. No file, no ids.

    Returns:
        The ids. A broken entry is among them: its ConfigError is raised when it is made.

    Raises:
        ConfigError: the file that was named is not there, or cannot be read.
    """
    keys, file = _keys_of(path)
    import gymnasium.envs.registration  # noqa: F401 - what waits for it has its turn first

    from gym_service.factory import registry

    return registry.replace_registered(_full_ids(keys), file)


def register_on_import() -> None:
    """What ``import gym_service`` does: ``use()``, once Gymnasium is there; and no file can make an import fail."""
    try:
        keys, file = _keys_of(None)
    except ConfigError as error:
        # $GYM_SERVICE_ENVS names a file that is not there. Who asks for an id hears "not found"; say now why.
        import warnings

        warnings.warn(str(error), stacklevel=2)
        return

    def register() -> None:
        from gym_service.factory import registry

        registry.replace_registered(_full_ids(keys), file)

    if keys:
        on_import("gymnasium.envs.registration", register)


def _keys_of(path: str | os.PathLike[str] | None) -> tuple[list[str], Path | None]:
    file = envs_file.find() if path is None else Path(path).absolute()
    return ([] if file is None else list(envs_file.load(file).entries)), file


def _full_ids(keys: Iterable[str]) -> dict[str, str]:
    return {f"{NAMESPACE}/{key}": key for key in keys}


def make_registered(
    *,
    entry: str,
    config: str,
    service: Mapping[str, Any] | None = None,
    host: str | None = None,
    port: int | None = None,
    **kwargs: Any,
) -> "RemoteEnv":
    """What ``gym.make("gym_service/<key>", …)`` calls. Takes plain data, so that specs pickle and go to JSON.

    Args:
        entry: the key in envs.toml.
        config: the path of envs.toml.
        service: keys of the entry, laid over it.
        host: with ``port``, short for an address, as in the original project.
        port: see ``host``.
        kwargs: for the simulator.

    Raises:
        ConfigError, ServerStartError: see there.
        EnvError: the simulator raised while it was made.
    """
    found = _registered_entry(entry, config, _overlay(service, host, port))
    recreate = partial(
        make_registered, entry=entry, config=config, service=dict(service or {}), host=host, port=port, **kwargs
    )
    return _open(found, kwargs, recreate)


def make_registered_vector(
    *,
    num_envs: int,
    entry: str,
    config: str,
    service: Mapping[str, Any] | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    max_episode_steps: int | None = None,
    autoreset_mode: Any = "NextStep",
    **kwargs: Any,
) -> "RemoteVectorEnv":
    """What ``gym.make_vec("gym_service/<key>", num_envs=…)`` calls; see ``make_registered`` and ``make_vec``."""
    table = _overlay(service, host, port)
    table |= {"workers": workers} if workers is not None else {}
    table |= {"max_episode_steps": max_episode_steps} if max_episode_steps is not None else {}
    return _open_vector(_registered_entry(entry, config, table), kwargs, num_envs, autoreset_mode)


def _overlay(service: Mapping[str, Any] | None, host: str | None, port: int | None) -> dict[str, Any]:
    if not isinstance(service, Mapping | None):
        text = f"service = {service!r}: a table was expected, such as {{'python': './sim_env'}}"
        raise ConfigError(text, file=None, key="service")
    table = dict(service or {})
    if port is not None:
        table.setdefault("address", f"tcp://{host or '127.0.0.1'}:{port}")
    return table


def _registered_entry(key: str, config: str, table: Mapping[str, Any]) -> entries.Entry:
    """The entry of an envs.toml, with a table laid over it."""
    file = envs_file.load(config)
    found = file.entries.get(key)
    if found is None:
        raise ConfigError(f"{config}: [envs] has no key {key!r} any more", file=config, key=f'envs."{key}"')
    if isinstance(found, ConfigError):
        raise found
    return entries.entry(key, table, file=file.path, base=found, interpreters=file.interpreters) if table else found


def make(env_id: str, **given: Any) -> "RemoteEnv":
    """Make an env in another interpreter, with or without an envs.toml.

    Args:
        env_id: with ``python``, ``address`` or ``command``: the id inside the target; no envs.toml is looked at.
            Without them: a key of envs.toml, whose entry the other keys are laid over.
        given: the keys of an entry (``python="./sim_env"``, ``imports=["gym_pusht"]``, ``kwargs={…}``, …; see
            docs/configuration.md). Any other keyword goes to the simulator.

    Raises:
        ConfigError, ServerStartError: see there.
        EnvError: the simulator raised while it was made.
    """
    entry, kwargs = entry_and_kwargs(env_id, given)
    env = _open(entry, kwargs, partial(make, env_id, **given))
    # In place of gym.make, which gives each env a spec that makes it again.
    from gym_service.factory import registry

    env.spec = registry.make_spec(entry.id, {"env_id": env_id, **given}, "gym_service:make", None)
    return env


def make_vec(
    env_id: str, num_envs: int = 1, *, workers: int | None = None, autoreset_mode: Any = "NextStep", **given: Any
) -> "RemoteVectorEnv":
    """Make several envs in another interpreter, as one vector env.

    Args:
        env_id: as in ``make``.
        num_envs: how many.
        workers: how many server processes hold them, each a contiguous share that it steps one after another; at most
            one for each env. None for what the entry says, which is 1 unless it says otherwise.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode`` or its value (``"NextStep"``, ``"SameStep"``,
            ``"Disabled"``).
        given: as in ``make``.

    Raises:
        ConfigError, ServerStartError: see there.
        EnvError: the simulator raised while it was made.
        NotImplementedError: the Gymnasium here is older than 1.0.
    """
    entry, kwargs = entry_and_kwargs(env_id, given if workers is None else {**given, "workers": workers})
    return _open_vector(entry, kwargs, num_envs, autoreset_mode)


def entry_and_kwargs(env_id: str, given: Mapping[str, Any]) -> tuple[entries.Entry, dict[str, Any]]:
    """What the keywords of ``make`` mean: an entry, and what is left for the simulator."""
    table = {key: value for key, value in given.items() if key in entries.ENTRY_KEYS}
    kwargs = {key: value for key, value in given.items() if key not in entries.ENTRY_KEYS}
    if any(given.get(key) for key in LOCATION_KEYS):
        return entries.entry(env_id, table), kwargs
    return _entry_in_file(env_id, table), kwargs


def _entry_in_file(env_id: str, table: Mapping[str, Any]) -> entries.Entry:
    key = env_id.removeprefix(f"{NAMESPACE}/")
    path = envs_file.find()
    if path is None:
        raise ConfigError(
            f"no envs.toml was found that could say where {env_id!r} lives\n"
            '  try: python="./sim_env" (a venv), or an envs.toml here or in a parent folder',
            file=None,
            key=f'envs."{key}"',
        )
    file = envs_file.load(path)
    base = file.entries.get(key)
    if base is None:
        known = ", ".join(file.entries) or "none"
        near = nearest(key, file.entries)
        advice = f"{near!r}" if near else f'python="./sim_env" (a venv), or a table [envs."{key}"] in that file'
        text = f"{path}: [envs] has no key {key!r}; it has: {known}\n  try: {advice}"
        raise ConfigError(text, file=str(path), key=f'envs."{key}"')
    if isinstance(base, ConfigError):
        raise base
    return entries.entry(key, table, file=path, base=base, interpreters=file.interpreters) if table else base


def _open(entry: entries.Entry, kwargs: Mapping[str, Any], recreate: Callable[[], "RemoteEnv"]) -> "RemoteEnv":
    if entry.python and not entry.is_remote:
        from gym_service_launcher.processes import guardian_client

        guardian_client.ensure()  # it gets ready while we do
    from gym_service.factory.open_env import open_env

    return open_env(entry, {**entry.kwargs, **kwargs}, recreate)


def _open_vector(
    entry: entries.Entry, kwargs: Mapping[str, Any], num_envs: int, autoreset_mode: Any
) -> "RemoteVectorEnv":
    import gymnasium

    if int(gymnasium.__version__.partition(".")[0]) < 1:
        raise NotImplementedError(
            f"vector envs need gymnasium 1.0 or newer on this side, and this is {gymnasium.__version__}"
        )
    from gym_service.factory.open_env import open_vector_env

    return open_vector_env(entry, {**entry.kwargs, **kwargs}, num_envs=num_envs, autoreset_mode=autoreset_mode)
