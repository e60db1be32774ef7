"""Writes down what an env is asked and what comes back, as it happens.

Knows the calls of a RemoteEnv, digests and the trace file. Never knows how a trace is played again. Python 3.10 and up.

The recording is made at the bridge: what wrappers on this side change is not in it, and what they ask for is. A call
costs some 15 us, and the time of a digest: 60 us for a picture of 640x480x3 (``python -m benchmarks.tracing``).
"""

import contextlib
import copy
import os
import platform
import warnings
import weakref
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium
import numpy as np

from gym_service.client.env import RemoteEnv
from gym_service.client.observer import observe
from gym_service.errors import CannotCross, ClosedError, EnvError, ForkedError, TraceError
from gym_service.protocol import messages
from gym_service.protocol.value_digest import RollingDigest
from gym_service.traces.trace_file import CALLS, TraceWriter
from gym_service.traces.usual_steps import UsualSteps

# An error of these says that nothing was sent, or that the env had ended before: it is no part of what was played.
_NOT_PLAYED = (ClosedError, ForkedError, gymnasium.error.AlreadyPendingCallError)
_IMMUTABLE = (int, float, str, bytes, bool, type(None), np.generic)
_RESULTS = {"reset": 2, "step": 5}
_ROW_NAMES = {
    messages.RESET: "reset",
    messages.STEP: "step",
    messages.RENDER: "render",
    messages.SET: "set",
    messages.CALL: "call",
    messages.CALL_FUNCTION: "function",
}


def record_trace(env: gymnasium.Env[Any, Any], path: str | os.PathLike[str], *, full: bool = False) -> "TracedEnv":
    """Record all that an env of gym-service is asked, and a digest of what it gives, into a file.

    The file appears at ``path`` when the env is closed, garbage-collected, or the program ends; until then it is a
    hidden file beside it. ``gym-service replay`` plays it again and names the first difference.

    Args:
        env: an env of ``gym.make("gym_service/…")`` or ``gym_service.make``, with any wrappers of this side around it.
            What the simulator is asked is recorded: below all of them.
        path: the file to write, usually ``….trace``. One that is there is replaced.
        full: keep the values themselves, too. A picture in each step makes that a large file and a slow recording.

    Returns:
        The env in a wrapper whose ``close`` also raises TraceError where the file could not be written.

    Raises:
        TypeError: it is no single env of gym-service.
        TraceError: the file cannot be written there.
        ValueError: the env is recorded already.
    """
    remote = getattr(env, "unwrapped", None)
    if not isinstance(remote, RemoteEnv):
        text = f"{type(env).__name__} is no single env of gym-service: a trace is recorded at its bridge"
        raise TypeError(f"{text}\n  try: record_trace(gym.make('gym_service/…'), path)")
    recorder = Recorder(TraceWriter(path, header_of(remote, full=full)), full=full)
    try:
        observe(remote, recorder)
    except BaseException:
        recorder.discard()
        raise
    return TracedEnv(env, recorder)


class TracedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An env whose calls are recorded. It changes nothing of what the env gives."""

    def __init__(self, env: gymnasium.Env[Any, Any], recorder: "Recorder") -> None:
        super().__init__(env)
        self._recorder = recorder

    @property
    def trace_digest(self) -> str:
        """The digest of all that came back so far, in hex. Two plays with the same digest gave the same values."""
        return self._recorder.digest.value.hex()

    def close(self) -> None:
        """Close the env and finish the file. Raises TraceError where that cannot be written."""
        self._recorder.warns = False  # what fails is raised here
        super().close()
        self._recorder.finish()

    def discard_trace(self) -> None:
        """Record no more, and leave no file."""
        self._recorder.discard()

    def __reduce__(self) -> Any:
        """Refuse: the copy would write into the same file."""
        raise TypeError("an env that is recorded cannot be pickled or copied\n  try: record_trace() around each copy")


class Recorder:
    """The observer of one env. See ``client/observer.py``; its methods raise nothing but ``finish``."""

    def __init__(self, writer: TraceWriter, *, full: bool) -> None:
        self.digest = RollingDigest()
        self.warns = True  # whether ``closed`` warns of a file that could not be written
        self._writer = writer
        self._is_full = full
        self._usual_steps = UsualSteps(self.digest, writer)
        self._arguments: tuple[Any, ...] | None = None  # of the step that is under way
        self._counts = dict.fromkeys(CALLS, 0)
        self._has_warned = False
        # It holds the counts and the digest, not this object, which could else never be collected.
        self._finalizer = weakref.finalize(self, _finish_quietly, writer, self.digest, self._counts)

    def step_sent(self, arguments: tuple[Any, ...]) -> None:
        """Keep the arguments until the result is there. See CallObserver."""
        action = arguments[0]
        if len(arguments) > 1:
            self._arguments = copy.deepcopy(arguments)
        elif isinstance(action, _IMMUTABLE):
            self._arguments = arguments
        else:
            self._arguments = (action.copy() if type(action) is np.ndarray else copy.deepcopy(action),)

    def step_answered(self, result: Any) -> None:
        """See CallObserver."""
        arguments, self._arguments = self._arguments, None
        if arguments is None:  # it was sent before the recording began
            return
        if not self._is_full and len(arguments) == 1 and self._usual_steps.add(arguments[0], result):
            self._count("step")
        else:
            self._write("step", arguments, results_of("step", result))

    def answered(self, kind: int, arguments: tuple[Any, ...], result: Any) -> None:
        """See CallObserver."""
        if kind == messages.CALL_FUNCTION:
            arguments = _without_byte_code(arguments)
        self._write(_ROW_NAMES[kind], arguments, results_of(_ROW_NAMES[kind], result))

    def failed(self, kind: int, arguments: tuple[Any, ...], error: BaseException) -> None:
        """See CallObserver."""
        if kind == messages.STEP:
            sent, self._arguments = self._arguments, None
            if sent is None:  # it could not be sent
                return
            arguments = sent
        if isinstance(error, _NOT_PLAYED):
            return
        if kind == messages.CALL_FUNCTION:
            arguments = _without_byte_code(arguments)
        if isinstance(error, EnvError):
            self._write_failure(kind, arguments, "raised", f"{error.type_name}: {error.message}")
        elif isinstance(error, CannotCross):
            self._write_failure(kind, arguments, "raised", f"CannotCross: {error}")
        else:
            text = str(error).partition("\n")[0]
            self._write_failure(kind, arguments, "ended", f"{type(error).__name__}: {text}")

    def restarted(self) -> None:
        """See CallObserver."""
        self._writer.write("restart", (), b"")

    def closed(self) -> None:
        """Finish the file. What fails is warned of: the env is closed all the same."""
        if self._finalizer.detach():
            _finish_quietly(self._writer, self.digest, self._counts, warns=self.warns)

    def finish(self) -> None:
        """Finish the file. Raises TraceError where it could not be written, now or by ``closed``."""
        if self._finalizer.detach():
            self._writer.finish(_end(self.digest, self._counts))
        if self._writer.failure:
            raise TraceError(self._writer.failure, path=str(self._writer.path))

    def discard(self) -> None:
        """Leave no file."""
        self._finalizer.detach()
        self._writer.discard()

    def _write(self, call: str, arguments: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        summary = self.digest.add(call.encode("ascii"), results)
        if self._is_full:
            self._writer.write(call, arguments, summary, results)
        else:
            self._writer.write(call, arguments, summary)
        self._count(call)

    def _write_failure(self, kind: int, arguments: tuple[Any, ...], how: str, text: str) -> None:
        call = _ROW_NAMES[kind]
        # What ended it is told in words of ours, which change; that it ended does not.
        summary = self.digest.add(how.encode("ascii"), (text,) if how == "raised" else ())
        self._writer.write(call, arguments, summary, {how: text})
        self._count(call)

    def _count(self, call: str) -> None:
        self._counts[call] += 1
        if self._writer.failure and not self._has_warned:
            self._has_warned = True
            with contextlib.suppress(RuntimeWarning):  # a filter may make an error of it, which has no place in a call
                warnings.warn(f"the trace ends here: {self._writer.failure}", RuntimeWarning, stacklevel=2)


def header_of(env: RemoteEnv, *, full: bool) -> dict[str, Any]:
    """What the first row of a trace says: which env it was, and where it ran. No path and no name of a machine."""
    origin = dict(env._origin)
    given = [one["wrapper"] if isinstance(one, dict) else one for one in origin.get("wrappers", ())]
    wrappers = [name if isinstance(name, str) else "(a callable)" for name in given]
    target = {name: env.target.get(name) for name in ("python", "numpy", "api", "env", "frames", "takes_options")}
    names = ("entry", "id", "entry_point", "api", "max_episode_steps", "kwargs")
    return {
        "full": full,
        "env": {**{name: origin.get(name) for name in names}, "wrappers": wrappers},
        "render_mode": env.render_mode,
        "observation_space": origin.get("observation_space"),
        "action_space": origin.get("action_space"),
        "simulator": target,
        "client": {
            "gym_service": _version_of("gym-service"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "gymnasium": gymnasium.__version__,
        },
    }


def results_of(call: str, result: Any) -> tuple[Any, ...]:
    """The results of a call: of a reset and a step each of its values, unless the simulator gave another form."""
    count = _RESULTS.get(call)
    return result if count and type(result) is tuple and len(result) == count else (result,)


def _without_byte_code(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A function that travelled as a pickle is not kept: nothing of a trace is ever unpickled."""
    function, *rest = arguments
    return (function if isinstance(function, str) else None, *rest)


def _end(digest: RollingDigest, counts: Mapping[str, int]) -> dict[str, Any]:
    totals = {"calls": sum(counts.values()), "steps": counts["step"], "episodes": counts["reset"]}
    return {**totals, "digest": digest.value}


def _finish_quietly(
    writer: TraceWriter, digest: RollingDigest, counts: Mapping[str, int], *, warns: bool = True
) -> None:
    """Finish the file when nobody can catch an error: the env is being collected, or the program ends."""
    try:
        writer.finish(_end(digest, counts))
    except TraceError as error:
        writer.failure = writer.failure or str(error)
        if warns:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # it runs from a clone
        return "unknown"
