"""``make``, ``make_vec`` and ``use``, and what ``gym.make`` calls for our ids.

Knows the keywords of ``make``, and envs.toml. Never knows how a server is started (``open_env.py``) or what is sent to
it. Client only; Python 3.10 and up.

At import this loads only the launcher's reader of envs.toml, and no Gymnasium. So ``import gym_service`` is quick, and
a mistake in envs.toml cannot make it fail.
"""

import json
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from gym_service_launcher.config import entry as entries
from gym_service_launcher.config import envs_file
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.spelling import misspelt

from gym_service.factory.forked_making import refused_in_child
from gym_service.factory.import_hook import on_import

if TYPE_CHECKING:
    # Type checkers know typing_extensions whether it is installed or not. Python 3.10 has no typing.Unpack.
    from typing_extensions import Unpack

    from gym_service.client.env import RemoteEnv
    from gym_service.client.vector import RemoteVectorEnv
    from gym_service.factory.options import EntryOptions

NAMESPACE = "gym_service"
# Each of these keys says where the simulator is, so that make() reads no envs.toml.
LOCATION_KEYS = ("python", "address", "command")


class _NotGiven:
    """The default of a keyword for which None has a meaning of its own."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Any = _NotGiven()


def use(path: str | os.PathLike[str] | None = None) -> list[str]:
    """Register the entries of an envs.toml as ``gym_service/<key>``. They replace the ids registered before.

    Args:
        path: the file. None to search for it: ``$GYM_SERVICE_ENVS``; ``envs.toml`` in the working directory and in each
            parent folder; the user's configuration folder. If none is found, nothing is registered.

    Returns:
        The registered ids. A broken entry is one of them: ``gym.make`` raises its ConfigError.

    Raises:
        ConfigError: the file that ``path`` or ``$GYM_SERVICE_ENVS`` names does not exist or cannot be read.
    """
    keys, file = _keys_of(path)
    import gymnasium.envs.registration  # noqa: F401 - runs the hook of register_on_import first, if it still waits

    from gym_service.factory import registry

    return registry.replace_registered(_full_ids(keys), file)


def register_on_import() -> None:
    """What ``import gym_service`` does: ``use()``, as soon as Gymnasium is imported. No file can make it fail."""
    try:
        keys, file = _keys_of(None)
    except ConfigError as error:
        # $GYM_SERVICE_ENVS names a file that does not exist. Gymnasium will only say "not found": say why now.
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
    service: "EntryOptions | None" = None,
    host: str | None = None,
    port: int | None = None,
    **kwargs: Any,
) -> "RemoteEnv":
    """What ``gym.make("gym_service/<key>", …)`` calls. Takes plain data, so that specs pickle and go to JSON.

    Blocks until the env is made, at most ``timeouts.start`` seconds after the venv of ``requires`` is built.

    Args:
        entry: the key in envs.toml.
        config: the path of envs.toml.
        service: keys of an entry. They replace those of the entry in envs.toml.
        host: with ``port``: short for ``service={"address": "tcp://host:port"}``, as in the original project.
        port: see ``host``.
        kwargs: keyword arguments of the simulator.

    Raises:
        ConfigError: the entry, or ``service``, has a mistake, or envs.toml has no such entry any more.
        InterpreterNotFound: there is no such interpreter.
        ServerStartError: the server did not start, or did not make the env in time.
        AuthError: the server at ``address`` has another token or another certificate.
        EnvError: the simulator raised while the env was made.
        CannotCross: a keyword argument or a space has no form on the wire.
    """
    from gymnasium import Env

    found = _registered_entry(entry, config, _overlay(service, host, port))
    copied = cast("EntryOptions", dict(service or {}))
    recreate = partial(make_registered, entry=entry, config=config, service=copied, host=host, port=port, **kwargs)
    if not found.vectorized:
        env = open_entry(_single(found), kwargs, recreate)
        if isinstance(env, Env):
            return env
        env.close()
    raise _no_single_env(found)


def make_registered_vector(
    *,
    num_envs: int,
    entry: str,
    config: str,
    service: "EntryOptions | None" = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | Literal["auto"] | None = None,
    max_episode_steps: int | None = None,
    autoreset_mode: Any = "NextStep",
    **kwargs: Any,
) -> "RemoteVectorEnv":
    """What ``gym.make_vec("gym_service/<key>", num_envs=…)`` calls. See ``make_registered`` and ``make_vec``."""
    table = _overlay(service, host, port)
    table |= {"workers": workers} if workers is not None else {}
    table |= {"max_episode_steps": max_episode_steps} if max_episode_steps is not None else {}
    limit = {"max_episode_steps": max_episode_steps, "workers": workers, "autoreset_mode": autoreset_mode}
    where: dict[str, Any] = {"entry": entry, "config": config, "service": service, "host": host, "port": port}
    recreate = partial(make_registered_vector, num_envs=num_envs, **where, **limit, **kwargs)
    found = _single(_registered_entry(entry, config, table))
    return _open_vector(found, kwargs, num_envs, autoreset_mode, recreate)


def _overlay(service: "EntryOptions | None", host: str | None, port: int | None) -> dict[str, Any]:
    if not isinstance(service, Mapping | None):
        text = f"service = {service!r}: expected a dict, such as {{'python': './sim_env'}}"
        raise ConfigError(text, file=None, key="service")
    table = dict(service or {})
    if port is not None:
        table.setdefault("address", f"tcp://{host or '127.0.0.1'}:{port}")
    return table


def _no_single_env(entry: entries.Entry) -> ConfigError:
    """What gym.make raises for a simulator that makes a vector env."""
    full_id = f"{NAMESPACE}/{entry.name}"
    advice = f'gym.make_vec("{full_id}", num_envs=…), or gym_service.make("{entry.name}")'
    if not entry.vectorized:
        advice = f"vectorized = true in its entry, and then {advice}"
    text = f"{entry.name!r} makes a vector env, which gym.make cannot return"
    return ConfigError(f"{text}\n  try: {advice}", file=str(entry.file) if entry.file else None, key="vectorized")


def _registered_entry(key: str, config: str, table: Mapping[str, Any]) -> entries.Entry:
    """The entry of an envs.toml, with the keys of a table in place of its own."""
    file = envs_file.load(config)
    found = file.entries.get(key)
    if found is None:
        raise ConfigError(f"{config}: [envs] has no key {key!r} any more", file=config, key=f'envs."{key}"')
    if isinstance(found, ConfigError):
        raise found
    return entries.entry(key, table, file=file.path, base=found, interpreters=file.interpreters) if table else found


def make(env_id: str, *, render_mode: str | None = NOT_GIVEN, **options: "Unpack[EntryOptions]") -> "RemoteEnv":
    """Make an env in another interpreter, with or without an envs.toml.

    Blocks until the env is made: at most ``timeouts.start`` seconds (120 by default) once the venv of ``requires`` is
    built, which may take minutes. Where the simulator makes a vector env, this returns a RemoteVectorizedEnv, which is
    a ``gymnasium.vector.VectorEnv``.

    Args:
        env_id: with ``python``, ``address`` or ``command``, the id of the env in that interpreter; envs.toml is not
            read. Else a key of envs.toml: the other keywords replace keys of that entry.
        render_mode: the render mode, as in ``gym.make``. If it is not given, that of the simulator.
        options: the keys of an entry, such as ``python="./sim_env"``, ``imports=["gym_pusht"]`` and ``kwargs={…}``. See
            ``EntryOptions`` and docs/configuration.md. Any other keyword is passed to the simulator, unless it looks
            like a misspelt one. Type checkers ask for ``kwargs={…}``, which passes any keyword.

    Raises:
        ConfigError: a keyword or the entry has a mistake, or looks misspelt; there is no such entry.
        InterpreterNotFound: there is no such interpreter. It is a ConfigError and a ServerStartError.
        ServerStartError: the server did not start, or did not make the env in time.
        AuthError: the server at ``address`` has another token or another certificate.
        EnvError: the simulator raised while the env was made.
        CannotCross: a keyword argument or a space has no form on the wire.
    """
    given = given_options(options, render_mode)
    entry, kwargs = entry_and_kwargs(env_id, given)
    env = open_entry(_single(entry), kwargs, partial(make, env_id, **given))
    # gym.make gives each env a spec that makes it again. So does this.
    from gym_service.factory import registry

    env.spec = registry.make_spec(entry.id, {"env_id": env_id, **given}, "gym_service:make", None)
    return env


def make_vec(
    env_id: str,
    num_envs: int = 1,
    *,
    autoreset_mode: Any = "NextStep",
    render_mode: str | None = NOT_GIVEN,
    **options: "Unpack[EntryOptions]",
) -> "RemoteVectorEnv":
    """Make several envs in another interpreter, as one vector env.

    Blocks as ``make`` does; all workers start at the same time.

    Args:
        env_id: as in ``make``.
        num_envs: the number of envs.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode`` or its value (``"NextStep"``, ``"SameStep"``,
            ``"Disabled"``).
        render_mode: as in ``make``.
        options: as in ``make``. ``workers`` is the number of server processes, 1 by default. Each holds a contiguous
            share of the envs and steps them one after another. There is at most one worker for each env. With
            ``"auto"``, two envs are made and stepped first, and the number is that which promises the shortest step.

    Raises:
        ValueError: ``num_envs`` or ``autoreset_mode`` is not a valid value.
        NotImplementedError: the Gymnasium of this interpreter is older than 1.0.
        ConfigError, InterpreterNotFound, ServerStartError, AuthError, EnvError, CannotCross: as in ``make``.
    """
    given = given_options(options, render_mode)
    entry, kwargs = entry_and_kwargs(env_id, given, ("num_envs", "autoreset_mode"))
    recreate = partial(make_vec, env_id, num_envs, autoreset_mode=autoreset_mode, **given)
    return _open_vector(_single(entry), kwargs, num_envs, autoreset_mode, recreate)


def given_options(options: Mapping[str, Any], render_mode: str | None) -> dict[str, Any]:
    """The keywords that were given to a function like ``make``."""
    return dict(options) if render_mode is NOT_GIVEN else {**options, "render_mode": render_mode}


def entry_and_kwargs(
    env_id: str, given: Mapping[str, Any], parameters: tuple[str, ...] = ()
) -> tuple[entries.Entry, dict[str, Any]]:
    """What the keywords of ``make`` mean: an entry, and the keyword arguments of the simulator.

    Args:
        env_id: as in ``make``.
        given: the keywords.
        parameters: other keywords of the caller. A keyword that looks like a misspelt one of them is refused too.

    Raises:
        ConfigError: a keyword has a mistake or looks misspelt; envs.toml has no such entry.
    """
    table = {key: value for key, value in given.items() if key in entries.ENTRY_KEYS}
    kwargs = {key: value for key, value in given.items() if key not in entries.ENTRY_KEYS}
    for keyword in kwargs:
        _refuse_misspelt(env_id, keyword, (*entries.ENTRY_KEYS, "render_mode", *parameters))
    if any(given.get(key) for key in LOCATION_KEYS):
        return entries.entry(env_id, table), kwargs
    return _entry_in_file(env_id, table), kwargs


def _refuse_misspelt(env_id: str, keyword: str, known: Iterable[str]) -> None:
    """Raise if a keyword that would go to the simulator looks like a misspelt one of ours."""
    meant = misspelt(keyword, known)
    if meant:
        raise ConfigError(
            f'given in Python for {json.dumps(env_id)}: {keyword}: unknown keyword; did you mean "{meant}"?\n'
            f"  try: {meant}=…; or kwargs={{{json.dumps(keyword)}: …}} if it is an argument of the simulator",
            file=None,
            key=keyword,
        )


def _entry_in_file(env_id: str, table: Mapping[str, Any]) -> entries.Entry:
    key = env_id.removeprefix(f"{NAMESPACE}/")
    path = envs_file.find()
    if path is None:
        raise ConfigError(
            f"there is no envs.toml that says where {env_id!r} is{envs_file.looked_at()}\n"
            '  try: python="./sim_env" (a venv), or an envs.toml in this folder or a parent folder',
            file=None,
            key=f'envs."{key}"',
        )
    file = envs_file.load(path)
    base = file.entries.get(key)
    if base is None:
        raise envs_file.unknown_entry(file, key)
    if isinstance(base, ConfigError):
        raise base
    return entries.entry(key, table, file=path, base=base, interpreters=file.interpreters) if table else base


def _single(entry: entries.Entry) -> entries.Entry:
    """The entry, unless it is one of several agents, which no gymnasium.Env can be."""
    if entry.api in entries.MULTI_AGENT_APIS:
        text = f'{entry.name!r} has api = "{entry.api}", so it is an env of several agents'
        text += f'\n  try: gym_service.make_{entry.api}("{entry.name}", …)'
        raise ConfigError(text, file=str(entry.file) if entry.file else None, key="api")
    return entry


@refused_in_child
def open_entry(entry: entries.Entry, kwargs: Mapping[str, Any], recreate: Callable[[], "RemoteEnv"]) -> "RemoteEnv":
    """What every way to make an env ends in: see ``open_env``."""
    with _guardian_started_early(entry):
        from gym_service.factory.open_env import open_env

        merged = {**entry.kwargs, **kwargs}
        if merged.get("render_mode") != "human":
            return open_env(entry, merged, recreate)
        from gym_service.factory.human import open_human

        return open_human(entry, merged, lambda given, windowed: open_env(entry, given, recreate, windowed=windowed))


def _guardian_started_early(entry: entries.Entry) -> AbstractContextManager[None]:
    """Start the guardian while this process imports, where the entry needs one."""
    if not entry.python or entry.is_remote:
        return nullcontext()
    from gym_service_launcher.processes import guardian_client

    return guardian_client.started_early()


@refused_in_child
def _open_vector(
    entry: entries.Entry,
    kwargs: Mapping[str, Any],
    num_envs: int,
    autoreset_mode: Any,
    recreate: Callable[[], "RemoteVectorEnv"],
) -> "RemoteVectorEnv":
    from gym_service.factory.open_env import open_env, open_vector_env, require_vector_envs

    require_vector_envs()
    merged = {**entry.kwargs, **kwargs}
    if not entry.vectorized:
        num_envs = _as_count(num_envs)
        given = {"num_envs": num_envs, "autoreset_mode": autoreset_mode, "recreate": recreate}
        return open_vector_env(entry, merged, workers=_workers(entry, merged, num_envs), **given)
    _refuse_beside_vectorized(entry, autoreset_mode)
    return cast("RemoteVectorEnv", open_env(entry, {**merged, entry.num_envs_key: num_envs}, recreate))


def _as_count(num_envs: Any) -> int:
    """A number of envs as an int: numpy's integers would not cross in a space's shape. Raises ValueError."""
    try:
        return operator.index(num_envs)
    except TypeError:
        raise ValueError(f"num_envs={num_envs!r}: a number of envs is an integer") from None


def _workers(entry: entries.Entry, kwargs: Mapping[str, Any], num_envs: int) -> int:
    if isinstance(entry.workers, int):
        return entry.workers
    from gym_service.factory.worker_choice import choose_workers

    return choose_workers(entry, kwargs, num_envs)


def _refuse_beside_vectorized(entry: entries.Entry, autoreset_mode: Any) -> None:
    """Raise for what is the simulator's own to decide where it makes the vector env itself."""
    mode = getattr(autoreset_mode, "value", autoreset_mode)
    if mode != "NextStep":
        raise _mistake(entry, "autoreset_mode", f"{mode!r} cannot be asked of a simulator that is vectorized itself")
    if entry.workers != 1:
        raise _mistake(entry, "workers", "a simulator that is vectorized itself is one process")


def _mistake(entry: entries.Entry, key: str, text: str) -> ConfigError:
    advice = f"\n  try: kwargs of {entry.name!r} for what its own constructor takes"
    return ConfigError(f"{entry.name!r}: {key}: {text}{advice}", file=str(entry.file) if entry.file else None, key=key)
