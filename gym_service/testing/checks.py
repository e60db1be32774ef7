"""The checks, one function each: what it compares, and what it says where that fails.

Each takes an EnvUnderTest, returns what it has seen in a few words, or raises Failed or Skipped. They build on each
other in the order of CHECKS. Knows the calls of an env and the errors of gym-service. Python 3.10 and up.
"""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from gymnasium.spaces import GraphInstance

from gym_service.client.env import RemoteEnv
from gym_service.errors import CallTimeout, CannotCross, ClosedError, EnvError, GymServiceError, ServerCrashed
from gym_service.protocol.values import Opaque
from gym_service.testing import leaked_processes, moment_forms, trajectory_diff
from gym_service.testing.env_under_test import EnvUnderTest, Failed, Skipped
from gym_service.testing.in_target import reference_run, trajectory
from gym_service.testing.space_containment import containment_error

PROBE_OPTIONS = {"gym_service_check": 7}
RENDERED_STEPS = 3
# For the call to a server that was stopped: it is past this whatever the machine is doing.
STOPPED_STEP_S = 1.0
SIDES = ("in the simulator", "here")
FORM_HINT = "\n  try: what has a form on the wire: numbers, texts, arrays, lists, dicts"
NO_FORM = (Opaque.__name__, CannotCross.__name__)
FIT_HINT = "\n  try: a space that holds it; it crosses as it is, but a trainer relies on the space"
HINT = (
    "\n  try: what the simulator takes from around it: environment variables, the working directory, sys.argv, files, "
    "the clock, other processes"
)


def check_simulator(subject: EnvUnderTest) -> str:
    """It plays in a bare process, to the end."""
    played = subject.reference_run(options=PROBE_OPTIONS)
    records = played["records"]
    raised = next((number for number, record in enumerate(records) if record[2] == trajectory.RAISED), None)
    if raised is not None:
        when = f"after {records[raised - 1][0]}" if raised else "in the first reset"
        raise Failed(f"without gym-service the simulator raised {when}: {records[raised][3]}")
    subject.played = played
    facts = subject.facts
    if facts["nondeterministic"]:
        subject.deterministic = False
    return f"{facts['api']}, Python {facts['python']}: {len(subject.seeds)} seeds, {_steps(subject)} steps"


def check_determinism(subject: EnvUnderTest) -> str:
    """Two bare processes give the same: else no bridge could be judged."""
    facts = subject.facts
    if facts["nondeterministic"]:
        raise Skipped("registered as nondeterministic: types are compared, numbers are not")
    if not subject.deterministic:
        raise Skipped("deterministic=False: types are compared, numbers are not")
    again = subject.reference_run(options=PROBE_OPTIONS)["records"]
    found = trajectory_diff.first(subject.played["records"], again)
    if found:
        full = lambda number: subject.reference_run(until=number)["full"]  # noqa: E731
        words = trajectory_diff.describe_difference(found, (full, full), ("in one process", "in another"))
        subject.deterministic = False
        raise Failed(
            f"the simulator itself is not deterministic, its plays in two bare processes differ: {words}\n"
            "  try: draw every number in it from generators that reset(seed=…) seeds, and give out no clock or process "
            "id; or deterministic=False, which compares types alone"
        )
    return f"two bare processes agree in {len(again)} values"


def check_spaces(subject: EnvUnderTest) -> str:
    """Spaces, metadata and render mode are the simulator's."""
    facts = subject.facts
    with opened(subject) as env:
        compare_spaces(subject, env)
    return f"{facts['observation_space'][0][1]} and {facts['action_space'][0][1]}"


def compare_spaces(subject: EnvUnderTest, env: RemoteEnv) -> None:
    """Raise Failed where spaces, metadata or render mode of an open env are not the simulator's."""
    facts = subject.facts
    for name in ("observation_space", "action_space"):
        theirs = [(f"{name}", *item) for item in facts[name]]
        ours = [(name, *item) for item in reference_run.space_items(trajectory, getattr(env, name))]
        _same(theirs, ours)
    if facts["is_new"]:  # else today's names stand beside its own
        _same(
            [("metadata", *item) for item in facts["metadata"]],
            [("metadata", *item) for item in trajectory.items(env.metadata, "$.metadata")],
        )
    if env.render_mode != facts["render_mode"]:
        raise Failed(f"render_mode: {facts['render_mode']!r} {SIDES[0]}, {env.render_mode!r} {SIDES[1]}")


def check_parity(subject: EnvUnderTest) -> str:
    """Bit for bit and type for type what the bare process gave."""
    facts = subject.facts
    records = subject.played["records"]
    with opened(subject) as env:
        if facts["enforces_order"]:
            _same_outcome(
                "a step before the first reset",
                subject.played["unready"],
                trajectory.outcome(lambda: env.step(None), remote_error),
            )
        played = (record for plan in subject.plans() for record in remote_play(env, plan))
        compare_plays(subject, records, played)
        reset = lambda: env.reset(seed=1, options=dict(PROBE_OPTIONS))  # noqa: E731
        subject.optioned = trajectory.outcome(reset, remote_error)
    what = "values are the same, bit for bit" if subject.deterministic else "values are of the same types"
    return f"{len(records)} {what}"


def check_observations(subject: EnvUnderTest) -> str:
    """Every observation lies in the observation space, as training libraries take for granted."""
    subject.require_parity()
    count = 0
    with opened(subject) as env:
        for plan in subject.plans():
            for where, path, _, _, value in remote_play(env, plan):
                if path == "$.observation":
                    count += 1
                    if words := containment_error(env.observation_space, value, path):
                        raise Failed(f"{where}: {words}{FIT_HINT}")
    return f"{count} lie in the observation space"


def check_options(subject: EnvUnderTest) -> str:
    """``reset(options=…)`` does there what it does in the bare process."""
    if not subject.facts["takes_options"]:
        raise Skipped(f"reset() takes no options in {subject.facts['api']}")
    if not subject.deterministic:
        raise Skipped("the simulator is not deterministic")
    if not subject.optioned:
        raise Skipped("without parity nothing can be said of it")
    theirs = subject.played["optioned"]
    _same_outcome("a reset with options", theirs, subject.optioned)
    return (
        f"both raise {theirs[0][2].splitlines()[0]}"
        if theirs[0][1] == trajectory.RAISED
        else f"options={PROBE_OPTIONS} are taken alike"
    )


def check_render(subject: EnvUnderTest) -> str:
    """Frames are the same."""
    if subject.render_mode:
        raise Skipped(f"render_mode={subject.render_mode!r} is part of parity")
    subject.require_parity()
    modes = subject.facts["render_modes"]
    mode = next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)
    if mode is None:
        raise Skipped(f"neither rgb_array nor ansi is among its render modes {modes}")
    rendering = subject.with_render_mode(mode, RENDERED_STEPS)
    try:
        check_simulator(rendering)
    except Failed as failure:
        raise Skipped(f"it cannot render {mode!r} here without gym-service either: {failure}") from failure
    return f"{mode}: {check_parity(rendering)}"


def check_close(subject: EnvUnderTest) -> str:
    """After ``close()`` nothing of it runs, and using it is a ClosedError."""
    subject.require_reference()
    mark = leaked_processes.new_mark()
    with opened(subject, mark) as env:
        env.reset(seed=subject.seeds[0])
        env.close()
        env.close()
        _refused(subject, env, ClosedError, "after close()")
    return _nothing_left(mark, "after close()")


def check_killed(subject: EnvUnderTest) -> str:
    """A server that is killed is a ServerCrashed, and nothing of it runs."""
    mark = _seen_mark(subject)
    with opened(subject, mark) as env:
        env.reset(seed=subject.seeds[0])
        if not leaked_processes.send(env.target["pid"], mark, signal.SIGKILL):
            raise Failed(f"the server, process {env.target['pid']}, was gone before it could be killed")
        _refused(subject, env, ServerCrashed, "after its server was killed")
        _refused(subject, env, ClosedError, "after that")
    return f"ServerCrashed; {_nothing_left(mark, 'after its server was killed')}"


def check_stopped(subject: EnvUnderTest) -> str:
    """A server that is silent is a CallTimeout, and nothing of it runs."""
    mark = _seen_mark(subject)
    with opened(subject, mark, timeouts={**asdict(subject.entry.timeouts), "step": STOPPED_STEP_S}) as env:
        env.reset(seed=subject.seeds[0])
        if not leaked_processes.send(env.target["pid"], mark, signal.SIGSTOP):
            raise Failed(f"the server, process {env.target['pid']}, was gone before it could be stopped")
        _refused(subject, env, CallTimeout, "after its server was stopped")
    return f"CallTimeout; {_nothing_left(mark, 'after its server was stopped')}"


CHECKS: Mapping[str, Callable[[EnvUnderTest], str]] = MappingProxyType(
    {
        "simulator": check_simulator,
        "determinism": check_determinism,
        "spaces": check_spaces,
        "parity": check_parity,
        "observations": check_observations,
        "options": check_options,
        "render": check_render,
        "close": check_close,
        "killed": check_killed,
        "stopped": check_stopped,
    }
)


@contextmanager
def opened(subject: EnvUnderTest, mark: str = "", **over: Any) -> Iterator[RemoteEnv]:
    """The env, open; what gym-service raises of its own accord, and nobody expects, is a Failed."""
    if subject.open_failed:
        raise Skipped("it cannot be made through gym-service")
    subject.open_failed = True
    try:
        with subject.opened(mark, **over) as env:
            subject.open_failed = False
            yield env
    except GymServiceError as error:
        raise Failed(f"{'cannot be made: ' if subject.open_failed else ''}{type(error).__name__}: {error}") from error


def remote_play(env: RemoteEnv, plan: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, Any]]:
    """The moments of a play through gym-service."""
    reset = lambda seed, data: env.reset(seed=seed, options=trajectory.from_data(data))  # noqa: E731
    step = lambda data: env.step(trajectory.from_data(data, GraphInstance))  # noqa: E731
    return trajectory.run_episode_plan(plan, reset, step, env.render, remote_error)


def remote_error(error: Exception) -> tuple[str, str] | None:
    """What a simulator's error was there; None for one of gym-service's own."""
    return (error.type_name, error.message) if isinstance(error, EnvError) else None


def compare_plays(
    subject: EnvUnderTest, theirs: Sequence[Sequence[Any]], played: Iterator[tuple[str, str, str, str, Any]]
) -> None:
    """Raise Failed where the play through gym-service gives something else than the bare process."""
    if not subject.deterministic:
        if words := moment_forms.describe_difference(theirs, (record[:4] for record in played), SIDES):
            subject.differs = True
            raise Failed(words + (FORM_HINT if any(name in words for name in NO_FORM) else HINT))
        return
    if found := trajectory_diff.first(theirs, played):
        content = trajectory.full_bytes(found.ours[4]) if found.ours else ""
        full = (lambda number: subject.reference_run(until=number)["full"], lambda number: content)
        subject.differs = True
        hint = FORM_HINT if _has_no_form(found.ours) else HINT
        raise Failed(trajectory_diff.describe_difference(found, full, SIDES) + hint)


def _same(theirs: Sequence[Sequence[Any]], ours: Sequence[Sequence[Any]]) -> None:
    found = trajectory_diff.first(theirs, ours)
    if found:
        mine = trajectory.full_bytes(found.ours[4]) if found.ours else ""
        their_bytes = found.theirs[3] if found.theirs and " " not in found.theirs[3] else ""
        raise Failed(trajectory_diff.describe_difference(found, (lambda _: their_bytes, lambda _: mine), SIDES))


def _same_outcome(where: str, theirs: Sequence[Sequence[Any]], ours: Sequence[Sequence[Any]]) -> None:
    _same([(where, *item) for item in theirs], [(where, *item, None) for item in ours])


def _has_no_form(record: Sequence[Any] | None) -> bool:
    return record is not None and isinstance(record[4], Opaque | CannotCross)


def _refused(subject: EnvUnderTest, env: RemoteEnv, wanted: type[Exception], when: str) -> None:
    try:
        env.step(trajectory.from_data(subject.plans()[0]["actions"][0], GraphInstance))
    except wanted:
        return
    except Exception as error:
        raise Failed(f"{when}, step() raised {type(error).__name__} and no {wanted.__name__}: {error}") from error
    raise Failed(f"{when}, step() gave an answer")


def _seen_mark(subject: EnvUnderTest) -> str:
    subject.require_reference()
    if not leaked_processes.can_see():
        raise Skipped("there is no /proc here to find its processes in")
    return leaked_processes.new_mark()


def _nothing_left(mark: str, when: str) -> str:
    if not leaked_processes.can_see():
        return "what is left behind cannot be seen here"
    left = leaked_processes.wait_until_gone(mark)
    if left:
        raise Failed(
            f"{when} these processes of the simulator still run:\n" + "\n".join(f"    {line}" for line in left)
        )
    return "nothing left behind"


def _steps(subject: EnvUnderTest) -> int:
    return sum(len(plan["actions"]) for plan in subject.plans())
