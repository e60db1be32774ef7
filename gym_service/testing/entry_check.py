"""What ``gym-service check`` finds out about one entry: a row for each question, in the order of a user's first run.

Knows an entry, the play through gym-service and the play in a bare process. Never knows how a row is shown, nor the
causes of failures (``causes.py`` of the launcher, by way of the errors of ``gym.make``). Python 3.10 and up.

The rows use the checks of the compliance kit, but one server for most of them, since large simulators take seconds to
start.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gym_service_launcher.config.entry import MULTI_AGENT_APIS, Entry
from gym_service_launcher.interpreters.diagnosis import diagnose
from gym_service_launcher.interpreters.environment import environment_of
from gym_service_launcher.interpreters.evidence import repair_of
from gym_service_launcher.interpreters.survey import survey_of
from gym_service_launcher.servers import local
from gym_service_launcher.servers.over_command import route_of
from gymnasium.spaces import GraphInstance

from gym_service.client.env import RemoteEnv
from gym_service.errors import ApiMismatch, EnvError, GymServiceError, ImportFailed, ServerCrashed
from gym_service.factory import make, per_env
from gym_service.factory.server_startup import explain
from gym_service.testing import checks, failure_evidence, leaked_processes, result_shapes, trajectory_diff
from gym_service.testing.env_under_test import EnvUnderTest, Failed, is_portable
from gym_service.testing.in_target import trajectory
from gym_service.testing.locked_play import LockedPlay
from gym_service.testing.space_containment import containment_error

# ``warned``: the simulator itself is not as a trainer expects. Nobody who only uses it can change that.
Outcome = Literal["passed", "failed", "warned", "skipped"]
SEED = 1
STEPS = 100
# Seconds after which a slow simulator makes no further step: one that draws in software takes one for each.
PLAY_S = 15.0
RENDER_EVERY = 10
RENDERABLE = ("rgb_array", "ansi")
NOT_DETERMINISTIC = "of the same types; the simulator itself is not deterministic"
UNSEEDED = "not compared: it cannot be seeded"
NOT_LOCAL = "not compared: the simulator is not on this machine"


@dataclass(frozen=True)
class Row:
    """One question and its answer.

    ``cause`` and ``advice``: why it failed and what to try. ``evidence``: lines of the error. ``facts``: for programs.
    """

    check: str
    outcome: Outcome
    text: str
    cause: str = ""
    advice: str = ""
    facts: Mapping[str, Any] | None = None
    evidence: tuple[str, ...] = ()


def rows_of(entry: Entry, progress: Callable[[str], None], locked: LockedPlay | None = None) -> Iterator[Row]:
    """Check an entry. The rows come as they are found; after a row that failed, those that need it are left out.

    Blocks for four starts of the simulator or more. Builds the venv of the entry if it is missing.

    Args:
        entry: what is checked.
        progress: called with a line when a venv is built.
        locked: what the play is compared with; None if the entry is not locked as it is today.
    """
    try:
        yield from _EntryCheck(entry, locked, progress).rows()
    except _Stopped as stopped:
        yield stopped.row


class _Stopped(Exception):
    """A row has failed on which the others depend."""

    def __init__(self, row: Row) -> None:
        super().__init__(row.text)
        self.row = row


def failed_row(check: str, error: Exception) -> Row:
    """The row of an error: its first line, its evidence, its cause, and what to try."""
    text, cause, advice = str(error), "", ""
    if "\n  try: " in text:
        text, _, advice = text.rpartition("\n  try: ")
    if "\n  cause: " in text:
        text, _, cause = text.rpartition("\n  cause: ")
    first = text.strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, EnvError):
        first = f"{error.type_name}: {error.message.strip().partition(chr(10))[0]}".rstrip(": ")
    return Row(check, "failed", first, cause, advice, evidence=failure_evidence.lines_of(error))


class _EntryCheck:
    """The state of one check."""

    def __init__(self, entry: Entry, locked: LockedPlay | None, progress: Callable[[str], None]) -> None:
        self.entry = replace(entry, output="tail")  # what it prints must not stand between the rows
        self.locked = locked
        self.progress = progress
        self.executable: Path | None = None
        self.subject: EnvUnderTest | None = None
        self.mark = leaked_processes.new_mark() if leaked_processes.can_see() else ""
        self.step_times_s: list[float] = []
        self.records: list[tuple[str, str, str, str, Any]] = []
        self.actions: list[Any] = []
        self.odd = {"reset": "", "step": ""}
        self.unseeded: Row | None = None  # why it cannot be seeded

    @property
    def kwargs(self) -> dict[str, Any]:
        return dict(self.entry.kwargs)

    def rows(self) -> Iterator[Row]:
        yield from self._interpreter()
        if self.entry.api in MULTI_AGENT_APIS:
            yield Row("make", "skipped", f"an env of several agents is made by gym_service.make_{self.entry.api}")
            return
        env, start_s = self._made()
        if self.executable:
            yield from self._imports()
        text = f"{self.entry.entry_point or self.entry.id}, in {_seconds(start_s)}"
        yield Row("make", "passed", text, facts={"start_s": start_s})
        try:
            yield from self._play(env)
            self._take_reference()
            yield from self._spaces(env)
            yield from self._parity()
            modes = [str(mode) for mode in env.metadata.get("render_modes") or ()]
        finally:
            with suppress(GymServiceError):
                env.close()
        yield self._render(modes)
        yield from self._lock()
        if self.mark and self.executable:  # elsewhere, its processes carry no mark or cannot be seen
            yield self._left_behind()

    # -- before the env is made --------------------------------------------------------------------------------------

    def _interpreter(self) -> Iterator[Row]:
        entry = self.entry
        if entry.address or entry.is_remote:
            yield Row("interpreter", "skipped", entry.address or route_of(entry).place)
            return
        try:
            self.executable = local.executable_of(entry, self.progress)
        except GymServiceError as error:
            raise _Stopped(failed_row("interpreter", error)) from error
        environment = environment_of(entry, self.executable)
        found = diagnose(self.executable, environment.variables, words=environment.words)
        if found.problem:
            raise _Stopped(Row("interpreter", "failed", found.problem, "", repair_of(entry, found)))
        names = ("Python", "numpy", "gymnasium", "gym")
        versions = dict(zip(names, (found.version, found.numpy, found.gymnasium, found.gym), strict=True))
        given = {name: version for name, version in versions.items() if version}
        yield Row("interpreter", "passed", str(self.executable), facts={"executable": str(self.executable)})
        yield Row("versions", "passed", ", ".join(f"{name} {v}" for name, v in given.items()), facts=given)

    def _imports(self) -> Iterator[Row]:
        """The imports of the entry, their time, and the version of what they belong to."""
        found = survey_of(self.entry)
        if found is None or not found.imports:
            return
        words = []
        for one in found.imports:
            package = found.modules.get(str(one["name"]).partition(".")[0], "")
            words.append(f"{one['name']} ({package} {found.version(package)})" if package else str(one["name"]))
        yield Row("imports", "passed", ", ".join(words), facts={one["name"]: one["seconds"] for one in found.imports})

    def _made(self) -> tuple[RemoteEnv, float]:
        begin = time.monotonic()
        try:
            env = self._open()
        except ImportFailed as error:
            raise _Stopped(failed_row("imports", error)) from error
        except GymServiceError as error:
            raise _Stopped(self._explained("make", error)) from error
        return env, time.monotonic() - begin

    def _open(self, **kwargs: Any) -> RemoteEnv:
        """The env, in a server of its own, whose processes carry the mark."""
        entry = replace(self.entry, keep_warm_s=None)  # what stays would be taken for what the simulator leaves
        if self.mark and self.executable:
            entry = replace(entry, environ={**entry.environ, leaked_processes.NAME: self.mark})

        def never() -> RemoteEnv:
            raise AssertionError("a check makes no second env of its own")

        return make.open_entry(entry, kwargs, never)

    # -- the play ----------------------------------------------------------------------------------------------------

    def _take_reference(self) -> None:
        """Play the env with the same actions in a bare process, if it can be."""
        if self.executable is None or self.unseeded or not is_portable(self.entry):
            return
        place = per_env.only_place(self.entry, self.kwargs)
        entry = per_env.entry_at(self.entry, place)
        kwargs = per_env.filled(self.kwargs, place, "kwargs")
        mode = kwargs.pop("render_mode", None)
        if mode == "human":
            return
        given = {
            "seeds": (SEED,),
            "steps": len(self.actions),
            "render_mode": mode,
            "render_every": RENDER_EVERY if mode else 0,
        }
        subject = EnvUnderTest(entry.name, {}, entry, self.executable, kwargs, **given)
        subject.actions = [trajectory.from_data(action, GraphInstance) for action in self.actions]
        with suppress(Failed):
            subject.played = subject.reference_run()
            self.subject = subject

    def _play(self, env: RemoteEnv) -> Iterator[Row]:
        plan = self._plan(env)
        made_s = {"reset": 0.0}

        def reset(seed: Any, data: Any) -> Any:
            begin = time.perf_counter()
            result = self._reset(env, seed, trajectory.from_data(data))
            made_s["reset"] = made_s["reset"] or time.perf_counter() - begin
            self.odd["reset"] = self.odd["reset"] or result_shapes.misfit("reset", result)
            return result

        def step(data: Any) -> Any:
            action = trajectory.from_data(data, GraphInstance)
            begin = time.perf_counter()
            result = env.step(action)
            self.step_times_s.append(time.perf_counter() - begin)
            self.odd["step"] = self.odd["step"] or result_shapes.misfit("step", result)
            return result

        for record in trajectory.run_episode_plan(plan, reset, step, env.render, checks.remote_error):
            self.records.append(record)
        raised = self.records[-1] if self.records and self.records[-1][2] == trajectory.RAISED else None
        if made_s["reset"]:
            text = f"in {_seconds(made_s['reset'])}"
            yield self._shape("reset", Row("reset", "passed", text, facts={"reset_s": made_s["reset"]}))
        if raised:
            check = "reset" if not made_s["reset"] else "steps"
            raise _Stopped(self._explained(check, raised[4]))
        median_s = statistics.median(self.step_times_s)
        text = f"{len(self.step_times_s)}, {_seconds(median_s)} each (median)"
        text += f"; no more than {PLAY_S:g} s of them" if len(self.step_times_s) < STEPS else ""
        facts = {"steps": len(self.step_times_s), "step_median_s": median_s}
        yield self._shape("step", Row("steps", "passed", text, facts=facts))

    def _reset(self, env: RemoteEnv, seed: int, options: Any = None) -> Any:
        """A reset with a seed; without one if the env cannot be seeded, as some envs for old versions of gym."""
        if not self.unseeded:
            try:
                return env.reset(seed=seed, options=options)
            except ApiMismatch as error:
                self.unseeded = failed_row("reset", error)
        return env.reset(options=options)

    def _shape(self, call: str, row: Row) -> Row:
        """The row, or a warning if the simulator has returned something else than Gymnasium's envs do."""
        if call == "reset" and self.unseeded:
            text = f"{row.text}; {self.unseeded.text.partition(': ')[2]}"
            return replace(row, outcome="warned", text=text, advice=self.unseeded.advice or "reset() without a seed")
        if not self.odd[call]:
            return row
        return replace(row, outcome="warned", text=f"{row.text}; {self.odd[call]}", advice=result_shapes.advice(call))

    def _plan(self, env: RemoteEnv) -> dict[str, Any]:
        render_every = RENDER_EVERY if self.kwargs.get("render_mode") in RENDERABLE else 0
        options = trajectory.to_data(None)
        return {"seed": SEED, "actions": self._drawn(env), "options": options, "render_every": render_every}

    def _drawn(self, env: RemoteEnv) -> Iterator[Any]:
        """Actions of the env's space, as data, as long as there is time."""
        deadline = time.monotonic() + PLAY_S
        env.action_space.seed(SEED)
        while len(self.actions) < STEPS and time.monotonic() < deadline:
            self.actions.append(trajectory.to_data(env.action_space.sample()))
            yield self.actions[-1]

    def _explained(self, check: str, error: Exception) -> Row:
        """The row of an error. One after the env was made comes without a cause, which is looked for here."""
        row = failed_row(check, error)
        if row.advice and not isinstance(error, ServerCrashed):  # whose advice is about another try
            return row
        if isinstance(error, EnvError):
            row = replace(row, advice=failure_evidence.next_step(self.entry, check))
        elif isinstance(error, ServerCrashed) and self.executable:
            row = replace(row, advice=f"gym-service debug {self.entry.name}, which runs the simulator in this terminal")
        found = explain(error, self.entry, self.kwargs) if isinstance(error, EnvError | ServerCrashed) else None
        return replace(row, cause=found.cause, advice=found.advice) if found else row

    def _spaces(self, env: RemoteEnv) -> Iterator[Row]:
        """Spaces equal to the simulator's, and every observation inside of its space."""
        try:
            if self.subject:
                checks.compare_spaces(self.subject, env)
        except Failed as failure:
            yield failed_row("spaces", failure)
            return
        for where, path, _, _, value in self.records:
            if path == "$.observation" and (words := containment_error(env.observation_space, value, path)):
                advice = "a wrapper with a space that holds it; gym-service passes it on as it is"
                yield Row("spaces", "warned", f"{where}: {words}", "", advice)
                return
        kinds = f"{_kind(env.observation_space)} observations, {_kind(env.action_space)} actions"
        yield Row("spaces", "passed", f"{kinds}; every observation lies in its space")

    # -- compared with the simulator's own process ---------------------------------------------------------------------

    def _parity(self) -> Iterator[Row]:
        if self.subject is None:
            why = UNSEEDED if self.unseeded else "the bare process cannot play it"
            yield Row("parity", "skipped", NOT_LOCAL if self.executable is None else why)
            return
        subject, theirs = self.subject, self.subject.played["records"]
        subject.deterministic = not subject.facts["nondeterministic"]
        if subject.deterministic and trajectory_diff.first(theirs, self.records):
            again = subject.reference_run()["records"]
            subject.deterministic = not trajectory_diff.first(theirs, again)
        try:
            checks.compare_plays(subject, theirs, iter(self.records))
        except Failed as failure:
            yield failed_row("parity", failure)
            return
        alike = "as in the simulator's own process, bit for bit" if subject.deterministic else NOT_DETERMINISTIC
        yield Row("parity", "passed", f"{len(theirs)} values {alike}")

    def _lock(self) -> Iterator[Row]:
        if not self.locked:
            return
        try:
            yield Row("lock", *self.locked.compare(self._open))
        except GymServiceError as error:
            yield failed_row("lock", error)

    def _render(self, modes: list[str]) -> Row:
        mode = self.kwargs.get("render_mode") or next((mode for mode in RENDERABLE if mode in modes), None)
        if mode is None:
            return Row("render", "skipped", f"it has no rgb_array and no ansi mode (its modes: {modes or 'none'})")
        if mode == "human":
            return Row("render", "skipped", "human: a window shows it while it plays")
        if modes and mode not in modes:
            cause = f"the env has no render mode {mode!r}; it has {', '.join(modes)}"
            return Row("render", "failed", f"render_mode = {mode!r}", cause, f'render_mode = "{modes[-1]}"')
        try:
            env = self._open(render_mode=mode)
            try:
                self._reset(env, SEED)
                frame = env.render()
            finally:
                env.close()
        except GymServiceError as error:
            return self._explained("render", error)
        if odd := result_shapes.frame_misfit(str(mode), frame):
            return Row("render", "warned", odd, "", "another render mode, or the documentation of the simulator")
        shape = getattr(frame, "shape", None)
        return Row("render", "passed", f"{mode}, {'×'.join(map(str, shape)) if shape else type(frame).__name__}")

    def _left_behind(self) -> Row:
        left = leaked_processes.wait_until_gone(self.mark)
        if left:
            advice = "close() of the simulator, which must end what it started"
            return Row("left behind", "failed", "; ".join(left), "processes of the simulator outlive it", advice)
        return Row("left behind", "passed", "nothing")


def _kind(space: Any) -> str:
    shape = getattr(space, "shape", None)
    return f"{type(space).__name__}{shape if shape and type(space).__name__ != 'Discrete' else ''}"


def _seconds(time_s: float) -> str:
    if time_s < 1e-3:
        return f"{time_s * 1e6:.0f} µs"
    return f"{time_s * 1e3:.1f} ms" if time_s < 1 else f"{time_s:.1f} s"
