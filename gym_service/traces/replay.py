"""A trace played again: on a fresh env, through the bridge or in the simulator's own process, call by call.

Knows rows, digests and the two ways to play. Never knows a terminal, nor how a difference is put into words
(``comparison.py``). Python 3.10 and up.

A file may come from anybody, so its power is limited. It names a key of *your* envs.toml, keywords for that env and
calls of it. Your entry alone decides which interpreter runs, what it imports and which wrappers it applies. A row that
names a function to import is refused unless you allow it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from gym_service.client.env import RemoteEnv
from gym_service.errors import CannotCross, ConfigError, EnvError, GymServiceError, TraceError
from gym_service.factory import make
from gym_service.protocol.value_digest import RollingDigest
from gym_service.testing.env_under_test import Failed, env_under_test
from gym_service.testing.in_target import trajectory
from gym_service.traces.comparison import Answer, Items, Replayed
from gym_service.traces.recorder import results_of
from gym_service.traces.trace_file import Row, TraceReader

Progress = Callable[[int], object]
# The results of a call, by its number; None where the trace has digests alone.
Results = Callable[[int], tuple[Any, ...] | None]
Call = tuple[str, tuple[Any, ...]]
ENDED = b"ended"
_NONE: Mapping[str, Any] = MappingProxyType({})


def replay(
    path: str | os.PathLike[str],
    *,
    against: str | None = None,
    in_process: bool = False,
    allow_import: bool = False,
    progress: Progress = lambda calls: None,
    **given: Any,
) -> Replayed:
    """Play a trace again on a fresh env and compare everything that comes back.

    Blocks until all calls are made, or the first that gives something else. Starts one server, or one process, for each
    that the recording had, and leaves none.

    Args:
        path: the file.
        against: the key in envs.toml, or with ``python`` or the like among the other keywords an id in the target, of
            the env to play on. None for the entry that was recorded.
        in_process: without the bridge, in a process of the simulator's own interpreter, on this machine.
        allow_import: make calls of ``module:function``, which import what the file names. Only for files you trust.
        progress: is told how many calls have been made.
        given: keys of the entry, laid over it, as in ``gym_service.make``.

    Raises:
        TraceError: the file cannot be read or played; it was cut off or is spoilt.
        ConfigError: there is no such entry.
        GymServiceError: the env cannot be made.
    """
    verified(path)  # before anything is started
    with TraceReader(path) as reader:
        env_id, keys = _env_of(reader, against, given)
        player = (_InProcess if in_process else _ThroughTheBridge)(env_id, keys, partial(_results, path))
        found = Replayed()
        digest = RollingDigest()
        for rows in _segments(reader, allow_import=allow_import):
            if not player.play(rows, digest, found, progress):
                return found
        _check_end(reader, digest)
        return found


def verified(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the last row of a trace, once all of it was read and nothing is missing. Raises TraceError."""
    with TraceReader(path) as reader:
        count = steps = 0
        for row in reader:
            count += row.call != "restart"
            steps += row.call == "step"
        end = reader.end or {}
        if (end.get("calls"), end.get("steps")) != (count, steps):
            raise TraceError(f"{path} is spoilt: its last record counts other calls than it has", path=str(path))
        return reader.header, end


def _env_of(reader: TraceReader, against: str | None, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which env to play on, as ``gym_service.make`` takes it."""
    env = reader.header.get("env")
    kwargs = env.get("kwargs") if type(env) is dict else None
    if type(env) is not dict or type(kwargs) is not dict or any(type(name) is not str for name in kwargs):
        raise TraceError(f"{reader.path} is spoilt: its header names no env", path=str(reader.path))
    kwargs = dict(kwargs)
    # A window of the recording is not opened again; a mode that was chosen for it was.
    if kwargs.get("render_mode") == "human":
        kwargs["render_mode"] = mode if (mode := reader.header.get("render_mode")) != "human" else None
    if kwargs.get("render_mode", "") is None:
        del kwargs["render_mode"]
    has_location = any(given.get(key) for key in make.LOCATION_KEYS)
    env_id = against or env.get("id" if has_location else "entry")
    if type(env_id) is not str:
        raise TraceError(
            f"{reader.path} was recorded without an envs.toml, from {env.get('id')}, so it names no entry\n"
            "  try: --against ENTRY, a key of an envs.toml",
            path=str(reader.path),
        )
    limit = env.get("max_episode_steps")
    keys = {"kwargs": kwargs, **({"max_episode_steps": limit} if type(limit) is int else {}), **given}
    return env_id, keys


def _segments(reader: TraceReader, *, allow_import: bool) -> Iterator[list[Row]]:
    """The rows of each server that the recording had, without their results, which may be larger than the memory."""
    rows: list[Row] = []
    number = 0
    for row in reader:
        if row.call == "restart":
            yield rows
            rows = []
            continue
        if row.call == "function":
            _refuse_function(reader, row, number, allow_import=allow_import)
        rows.append(row._replace(results=None))
        number += 1
    yield rows


def _results(path: str | os.PathLike[str], number: int) -> tuple[Any, ...] | None:
    """The results of one call, from the file; None where it has digests alone."""
    with TraceReader(path) as reader:
        calls = (row for row in reader if row.call != "restart")
        return next(row for at, row in enumerate(calls) if at == number).results


def _refuse_function(reader: TraceReader, row: Row, number: int, *, allow_import: bool) -> None:
    name = row.arguments[0] if row.arguments else None
    if not isinstance(name, str):
        text = f"call {number} of {reader.path} is a function that travelled as byte code, which no trace keeps"
        raise TraceError(
            f"{text}\n  try: a function by its name, env.call('package.module:function')", path=str(reader.path)
        )
    if not allow_import:
        text = f"call {number} of {reader.path} imports {name!r} in the simulator"
        raise TraceError(f"{text}\n  try: --allow-import, where you trust the file", path=str(reader.path))


def _check_end(reader: TraceReader, digest: RollingDigest) -> None:
    """All calls agree; so must the last row, unless the file was put together by hand."""
    if reader.end is None or reader.end.get("digest") != digest.value:
        text = f"{reader.path} is spoilt: its calls agree, and the digest of its last record does not"
        raise TraceError(text, path=str(reader.path))


class _ThroughTheBridge:
    """Plays on an env of ``gym_service.make``."""

    def __init__(self, env_id: str, keys: Mapping[str, Any], results: Results) -> None:
        self._env_id, self._keys, self._results = env_id, keys, results

    def play(self, rows: Sequence[Row], digest: RollingDigest, found: Replayed, progress: Progress) -> bool:
        """Make the calls of one server until one differs. Returns whether none did."""
        env = make.make(self._env_id, **self._keys)
        try:
            found.simulator = f"{env.target['api']}, Python {env.target['python']}, through the bridge"
            for row in rows:
                if not found.compare(row, _answer(env, row, digest), partial(self._results, found.calls)):
                    return False
                progress(found.calls)
        finally:
            env.close()
        return True


class _InProcess:
    """Plays in a process of the simulator's own interpreter, with nothing of gym-service but the digest."""

    def __init__(self, env_id: str, keys: Mapping[str, Any], results: Results) -> None:
        entry, _ = make.entry_and_kwargs(env_id, keys)
        if not entry.python or entry.is_remote:
            raise ConfigError(
                f"{env_id!r} has no process of its own on this machine: its simulator lives elsewhere\n"
                "  try: without --in-process, or with it on that machine",
                file=None,
                key="command" if entry.is_remote else "address",
            )
        self._subject = env_under_test(env_id, keys, lambda line: None)
        self._results = results

    def play(self, rows: Sequence[Row], digest: RollingDigest, found: Replayed, progress: Progress) -> bool:
        """Make the calls of one server in one process, then compare. Returns whether none differed."""
        calls = [(row.call, row.arguments) for row in rows if not row.ended]
        output = self._run(calls, digest.value)
        found.simulator = f"{output['facts']['api']}, Python {output['facts']['python']}, in a process of its own"
        for index, (summary, raised) in enumerate(output["answers"]):
            answer = Answer(bytes.fromhex(summary), raised, "", partial(self._items, calls, digest.value, index))
            if not found.compare(rows[index], answer, partial(self._results, found.calls)):
                return False
            progress(found.calls)
        before, digest.value = digest.value, bytes.fromhex(output["digest"])
        if rows and rows[-1].ended:
            found.notes.append(self._end(calls, rows[-1], before))
            digest.add(ENDED, ())
        return True

    def _items(self, calls: list[Call], before: bytes, shown: int) -> Items:
        """The results of one call, by another run up to it."""
        output = self._run(calls[: shown + 1], before, shown)
        return [(calls[shown][0], *item) for item in output["items"]]

    def _end(self, calls: list[Call], row: Row, before: bytes) -> str:
        """What becomes of the process in the call that ended the recording."""
        what = f"the recording ended in its last {row.call}: {row.ended}"
        if not row.ended.startswith("ServerCrashed"):
            return f"{what}; that call was not made"
        try:
            self._run([*calls, (row.call, row.arguments)], before)
        except GymServiceError as error:
            return f"{what}; so did this process: {_first_line(error)}"
        return f"{what}; this process lived on"

    def _run(self, calls: list[Call], before: bytes, shown: int | None = None) -> dict[str, Any]:
        try:
            return self._subject.replay(calls, digest=before, shown=shown)
        except Failed as error:
            raise GymServiceError(str(error)) from error
        except TypeError as error:
            raise TraceError(f"{error}\n  try: without --in-process") from error


class _Ended(BaseException):
    """The env ended in a call. Its cause says how. No Exception, so that it is not taken for what the env raised."""


def _answer(env: RemoteEnv, row: Row, digest: RollingDigest) -> Answer:
    """Make one call through the bridge."""
    perform = lambda name, arguments: _perform(env, name, arguments)  # noqa: E731
    try:
        ((summary, results, raised),) = trajectory.replay([(row.call, row.arguments)], perform, digest, _remote_error)
    except _Ended as ended:
        error = ended.__cause__
        return Answer(digest.add(ENDED, ()), "", f"{type(error).__name__}: {_first_line(error)}", list)
    items = lambda: [] if results is None else list(trajectory.named_items(row.call, results))  # noqa: E731
    return Answer(summary, raised, "", items)


def _perform(env: RemoteEnv, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    try:
        return _CALLS[name](env, *arguments)
    except (EnvError, CannotCross):
        raise
    except GymServiceError as error:
        raise _Ended from error


def _remote_error(error: Exception) -> tuple[str, str] | None:
    if isinstance(error, EnvError):
        return error.type_name, error.message
    return ("CannotCross", str(error)) if isinstance(error, CannotCross) else None


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]


_CALLS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "reset": lambda env, seed, options, args=(), more=_NONE: results_of(
        "reset", env.reset(*args, seed=seed, options=options, **more)
    ),
    "step": lambda env, action, args=(), more=_NONE: results_of("step", env.step(action, *args, **more)),
    "render": lambda env, args=(), more=_NONE: (env.render(*args, **more),),
    "set": lambda env, name, value, force: (env.set_wrapper_attr(name, value, force=force),),
    "call": lambda env, name, args, kwargs: (env.call(name, *args, **kwargs),),
    "function": lambda env, name, args, kwargs: (env.call(name, *args, **kwargs),),
}
