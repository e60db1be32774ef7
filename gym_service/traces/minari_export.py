"""A trace with its values as a Minari data set.

Knows rows and Minari's buffers. Never knows an env: the spaces are in the trace. Python 3.10 and up; needs Minari.

Minari stores one array for each leaf of an observation, so it holds the values and their dtypes. The Python type of a
reward or a flag is not kept: an ``int`` comes back as ``numpy.int64``.
"""

import contextlib
import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from gym_service.client.spaces import space_from
from gym_service.errors import TraceError
from gym_service.protocol.values import BadValue
from gym_service.traces.trace_file import TraceReader

# What Minari and h5py raise for data that they cannot hold, or a folder that they cannot write.
_FROM_MINARI = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass
class Exported:
    """What was exported: the id of the data set, how much it holds, and what of the trace it does not hold."""

    dataset_id: str
    episodes: int
    steps: int
    left_out: list[str]


@dataclass
class _Episode:
    seed: int | None
    options: dict[str, Any] | None
    observations: list[Any]
    infos: list[Any]
    actions: list[Any] = field(default_factory=list)
    rewards: list[Any] = field(default_factory=list)
    terminations: list[Any] = field(default_factory=list)
    truncations: list[Any] = field(default_factory=list)


def default_dataset_id(path: str | os.PathLike[str]) -> str:
    """The id that a trace gets without another: ``trace/NAME-v0``, with the name of the file and its version if any."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(path).stem).strip("-.") or "unnamed"
    return f"trace/{stem}" if re.search(r"-v\d+$", stem) else f"trace/{stem}-v0"


# Above 40 lines: half of them are signature and docstring, which users read in one place.
def export_to_minari(path: str | os.PathLike[str], dataset_id: str) -> Exported:
    """Make a Minari data set of a trace that was recorded with ``full=True``.

    It holds every episode that has a step: observations, actions, rewards, flags, the seed and options of the reset,
    and infos where all of the episode have the same keys. Pictures are stored as they are, not as JPEG. Blocks until
    all is written; the trace must fit into the memory.

    Raises:
        TraceError: Minari is missing, the trace has no values, there is such a data set, or Minari cannot hold it.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        text = f"the export needs Minari: {error}"
        raise TraceError(f'{text}\n  try: pip install "minari[hdf5,create]"', path=str(path)) from error
    if dataset_id in minari.list_local_datasets():
        text = f"Minari has a data set {dataset_id!r}"
        raise TraceError(f"{text}\n  try: --dataset-id, or minari delete {dataset_id}", path=str(path))
    with TraceReader(path) as reader:
        observation_space, action_space = _spaces_of(reader)
        episodes, left_out = _episodes(reader)
    if not episodes:
        raise TraceError(f"{path} has no episode with a step", path=str(path))
    given = {
        "observation_space": observation_space,
        "action_space": action_space,
        "description": f"from {Path(path).name}",
    }
    if "jpeg_encoding" in inspect.signature(minari.create_dataset_from_buffers).parameters:
        given["jpeg_encoding"] = False  # the default, True, is lossy
    is_whole = False
    try:
        buffers = [_buffer(EpisodeBuffer, each, observation_space, action_space, left_out) for each in episodes]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an author, a link to code and an env that are not known here
            minari.create_dataset_from_buffers(dataset_id, buffers, **given)
        is_whole = True
    except _FROM_MINARI as error:
        raise TraceError(f"Minari cannot hold {path}: {type(error).__name__}: {error}", path=str(path)) from error
    finally:
        if not is_whole:
            with contextlib.suppress(*_FROM_MINARI):  # a part of it may be there, in any state
                minari.delete_dataset(dataset_id)
    return Exported(dataset_id, len(buffers), sum(len(each.rewards) for each in episodes), left_out)


def _spaces_of(reader: TraceReader) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    if reader.header.get("full") is not True:
        text = f"{reader.path} has digests and no values"
        raise TraceError(f"{text}\n  try: record_trace(env, path, full=True), or record --full", path=str(reader.path))
    try:
        return space_from(reader.header["observation_space"]), space_from(reader.header["action_space"])
    except (BadValue, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{reader.path} is spoilt: no spaces: {error}", path=str(reader.path)) from error


def _episodes(reader: TraceReader) -> tuple[list[_Episode], list[str]]:
    """The episodes that have a step, and what is left out."""
    episodes: list[_Episode] = []
    current: _Episode | None = None
    failed = other = 0
    for row in reader:
        if row.results is None:
            failed += row.call != "restart"
            current = None  # what follows a call that failed belongs to no episode that Minari could hold
        elif row.call == "reset":
            seed, options = row.arguments
            current = _Episode(seed, options, [row.results[0]], [row.results[1]])
            episodes.append(current)
        elif row.call == "step" and current:
            observation, reward, terminated, truncated, info = row.results
            current.actions.append(row.arguments[0])
            for column, value in (
                (current.observations, observation),
                (current.rewards, reward),
                (current.terminations, terminated),
                (current.truncations, truncated),
                (current.infos, info),
            ):
                column.append(value)
        else:
            other += 1
    left_out = [f"{failed} calls that failed, and what followed them until the next reset"] if failed else []
    left_out += [f"{other} calls that are no reset and no step of an episode"] if other else []
    played = [each for each in episodes if each.actions]
    left_out += [f"{len(episodes) - len(played)} episodes without a step"] if len(played) < len(episodes) else []
    return played, left_out


def _buffer(
    make: Callable[..., Any],
    episode: _Episode,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    left_out: list[str],
) -> Any:
    infos = _infos(episode.infos)
    missing = "infos whose keys change within an episode"
    if infos is None and missing not in left_out:
        left_out.append(missing)
    return make(
        seed=episode.seed,
        options=episode.options or None,
        observations=_columns(episode.observations, observation_space, "observation"),
        actions=_columns(episode.actions, action_space, "action"),
        rewards=episode.rewards,
        terminations=episode.terminations,
        truncations=episode.truncations,
        infos=infos or None,
    )


def _columns(values: Sequence[Any], space: spaces.Space[Any], path: str) -> Any:
    """One list for each leaf of the space. Raises TraceError where a value has another structure."""
    if isinstance(space, spaces.Dict):
        for value in values:
            if not isinstance(value, dict) or set(value) != set(space.spaces):
                keys = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
                raise TraceError(f"$.{path} has {keys} where its space has {sorted(map(str, space.spaces))}")
        return {
            key: _columns([value[key] for value in values], part, f"{path}[{key!r}]")
            for key, part in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        parts = enumerate(space.spaces)
        return tuple(_columns([value[at] for value in values], part, f"{path}[{at}]") for at, part in parts)
    return list(values)


def _infos(values: Sequence[Any]) -> Any:
    """The infos as columns; None where Minari could not give each step its own again."""
    if all(isinstance(value, dict) for value in values):
        keys = list(values[0])
        if any(set(value) != set(keys) for value in values) or any(type(key) is not str for key in keys):
            return None
        columns = {key: _infos([value[key] for value in values]) for key in keys}
        return None if any(column is None for column in columns.values()) else columns
    kinds = set(_kinds(values))
    return list(values) if len(kinds) == 1 and None not in kinds else None


def _kinds(values: Sequence[Any]) -> Iterator[Any]:
    """Of each value what must be the same for all of a column; None for what no array holds."""
    for value in values:
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            yield value.dtype, value.shape
        elif type(value) in (bool, int, float, str) or isinstance(value, (np.number, np.bool_)):
            yield type(value)
        else:
            yield None
