"""What is checked: an env in its interpreter, opened through gym-service or played by a bare process.

Knows the entry, the bare process and where its answers lie. Never knows what a difference means. Python 3.10 and up.
"""

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError
from gym_service_launcher.interpreters.environment import environment_of
from gym_service_launcher.processes.child import Child, ending
from gym_service_launcher.servers import local

from gym_service.client.env import RemoteEnv
from gym_service.factory import make, per_env
from gym_service.testing import leaked_processes
from gym_service.testing.in_target import reference_run, trajectory

SHOWN_TAIL_CHARS = 4000
# For the whole of one bare play: nobody asks it what it is at.
BARE_TIMEOUT_S = 900.0


class Failed(Exception):
    """A check has failed; the text says how."""


class Skipped(Exception):
    """A check cannot be made here; the text says why."""


@dataclass
class EnvUnderTest:
    """An env that is checked, and what was found out about it so far."""

    env_id: str
    given: Mapping[str, Any]
    entry: Entry
    executable: Path
    kwargs: dict[str, Any]
    seeds: Sequence[int] = (1, 2)
    steps: int = 100
    options: Mapping[str, Any] | None = None
    actions: Sequence[Any] | None = None
    deterministic: bool = True
    render_mode: str | None = None
    render_every: int = 0
    played: dict[str, Any] = field(default_factory=dict)
    optioned: list[Any] = field(default_factory=list)
    open_failed: bool = False
    differs: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """What the bare process said of the env. Raises Skipped before it has."""
        self.require_reference()
        return self.played["facts"]

    def require_reference(self) -> None:
        """Raise Skipped where the bare process could not play it."""
        if not self.played:
            raise Skipped("the simulator does not play by itself")

    def require_parity(self) -> None:
        """Raise Skipped where parity has failed: whatever else was found would say the same again."""
        self.require_reference()
        if self.differs:
            raise Skipped("without parity nothing can be said of it")

    def plans(self) -> list[dict[str, Any]]:
        """A play for each seed; where actions are still to be drawn, their number."""
        drawn: Any = self.steps if self.actions is None else [trajectory.to_data(action) for action in self.actions]
        each = self.played["actions"] if self.played else [drawn] * len(self.seeds)
        options = trajectory.to_data(None if self.options is None else dict(self.options))
        given = {"options": options, "render_every": self.render_every}
        return [{"seed": seed, "actions": part, **given} for seed, part in zip(self.seeds, each, strict=True)]

    def with_render_mode(self, mode: str, steps: int) -> "EnvUnderTest":
        """The same env, made to render, for a short play of the first seed."""
        return replace(
            self, render_mode=mode, render_every=1, seeds=self.seeds[:1], steps=steps, played={}, optioned=[]
        )

    def reference_run(self, *, options: Mapping[str, Any] | None = None, until: int | None = None) -> dict[str, Any]:
        """What a process without gym-service gives; see ``reference_run.py``. Blocks until it has ended.

        Raises:
            Failed: the env could not be made, or the process died.
        """
        data = None if options is None else trajectory.to_data(dict(options))
        return self._run({"plays": self.plans(), "options": data, "until": until})

    def replay(
        self, calls: Sequence[tuple[str, Sequence[Any]]], *, digest: bytes, shown: int | None = None
    ) -> dict[str, Any]:
        """What a process without gym-service answers to the calls of a trace; see ``reference_run.py``.

        Blocks until it has ended.

        Args:
            calls: their names, and their arguments.
            digest: of what came before (``RollingDigest.value``).
            shown: the number of the call whose results are wanted themselves; it is the last that is made.

        Raises:
            Failed: the env could not be made, or the process died.
            TypeError: an argument cannot be given to that process as it was.
        """
        data = [(name, [trajectory.to_data(part) for part in arguments]) for name, arguments in calls]
        return self._run({"calls": data, "digest": digest.hex(), "shown": shown})

    def _recipe(self) -> dict[str, Any]:
        names = ("id", "entry_point", "api", "max_episode_steps", "vectorized")
        recipe = {name: getattr(self.entry, name) for name in names}
        recipe |= {key: list(getattr(self.entry, key)) for key in ("imports", "setup", "wrappers")}
        return recipe | {"kwargs": trajectory.to_data(self.kwargs), "render_mode": self.render_mode}

    def _run(self, task: dict[str, Any]) -> dict[str, Any]:
        output = self._outputs_of([{"recipe": self._recipe(), **task}])[0]
        if output["failure"]:
            lines = output["failure"].strip().splitlines()
            raise Failed(f"in its own interpreter the env cannot be made: {lines[-1]}\n{indented(lines)}")
        return output

    def _outputs_of(self, tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        environment = environment_of(self.entry, self.executable)
        with tempfile.TemporaryDirectory(prefix="gym-service-check-") as folder:
            given, answer = Path(folder) / "tasks.json", Path(folder) / "outputs.json"
            given.write_text(json.dumps(tasks), encoding="utf-8")
            command = [str(self.executable), "-u", reference_run.__file__, str(given), str(answer)]
            child = Child([*environment.words, *command], environment.variables, self.entry.cwd)
            try:
                code = child.exit_code(BARE_TIMEOUT_S)
            finally:
                child.stop(0.0, 0.0)
            if code == 0 and answer.exists():
                return json.loads(answer.read_text(encoding="utf-8"))
            how = f"was not done after {BARE_TIMEOUT_S:g} s" if code is None else f"died: {ending(code)}"
            tail = child.tail()[-SHOWN_TAIL_CHARS:].splitlines() or ["(no output)"]
            raise Failed(f"without gym-service the simulator {how}\n{indented(tail)}")

    @contextmanager
    def opened(self, mark: str = "", **over: Any) -> Iterator[RemoteEnv]:
        """The env through gym-service, closed afterwards. Its server, and what that starts, carry the mark."""
        given: dict[str, Any] = {**self.given, **over}
        given["environ"] = {**self.entry.environ, leaked_processes.NAME: mark}
        if self.entry.keep_warm_s:  # what stays would be taken for what the simulator leaves
            given.pop("keep_warm_s", None)
            given["prefork"] = False
        if self.render_mode:
            given["render_mode"] = self.render_mode
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the simulator warns of is not compared
            env = make.make(self.env_id, **given)
            try:
                yield env
            finally:
                env.close()


def env_under_test(
    env_id: str, given: Mapping[str, Any], progress: Callable[[str], None], **chosen: Any
) -> EnvUnderTest:
    """What ``gym_service.make(env_id, **given)`` would make, to be checked.

    Raises:
        ConfigError: the keys are wrong, or the env does not live in an interpreter of this machine.
    """
    entry, more = make.entry_and_kwargs(env_id, given)
    if not entry.python or entry.command:
        what = f"address = {entry.address!r}" if entry.address else f"command = {list(entry.command)!r}"
        raise ConfigError(
            f"{env_id!r} cannot be checked: its simulator lives elsewhere ({what}), and a bare process is part of the "
            "check\n  try: the check on that machine, with python = …",
            file=None,
            key="address" if entry.address else "command",
        )
    if not is_portable(entry):
        text = f"{env_id!r}: a bare process cannot be handed a callable\n  try: wrappers = ['package.module:Wrapper']"
        raise ConfigError(text, file=None, key="wrappers")
    place = per_env.only_place(entry, {**entry.kwargs, **more})
    entry = per_env.entry_at(entry, place)
    kwargs = per_env.filled({**entry.kwargs, **more}, place, "kwargs")
    mode = kwargs.pop("render_mode", None)
    chosen |= {"render_mode": mode, "render_every": 10 if mode else 0}
    return EnvUnderTest(env_id, given, entry, local.executable_of(entry, progress), kwargs, **chosen)


def is_portable(entry: Entry) -> bool:
    """Whether a bare process can apply the wrappers of an entry: it is handed no callable."""
    given = [wrapper["wrapper"] if isinstance(wrapper, Mapping) else wrapper for wrapper in entry.wrappers]
    return all(isinstance(wrapper, str) for wrapper in given)


def indented(lines: Sequence[str]) -> str:
    """Evidence, below what it is evidence of."""
    return "\n".join(f"    {line}" for line in lines)
