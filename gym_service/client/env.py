"""The env that a user holds: a gymnasium.Env whose simulator runs in another interpreter.

Knows Gymnasium's API and the calls. Never knows how the server was started. Python 3.10 and up.
"""

import copy
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from gym_service.client.answers import attribute_of, forms_of, further_fields, result_of, step_result
from gym_service.client.compiled_call import NOT_COMPILED
from gym_service.client.compiled_reset import CompiledReset, compile_reset, no_reset
from gym_service.client.compiled_step import CompiledStep, compile_step, never
from gym_service.client.connection import Connection, SpacesChanged, one
from gym_service.client.copying import CopiedByRecipe
from gym_service.client.env_facts import FACTS, apply_facts, fact_data, reading_description
from gym_service.client.generator import GeneratorOfSimulator
from gym_service.client.observer import OBSERVED, CallObserver, observed_call, observed_step
from gym_service.client.remote_method import RemoteMethod, is_private, public_names
from gym_service.client.requests import Timeouts, encode, limits_of, portable
from gym_service.client.restart_policy import Opening, Restartable
from gym_service.errors import AttributeCannotCross, AttributeOfClosedError, CannotCross, ClosedError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import Frame
from gym_service.protocol.layout import Layout

# Names that a RemoteEnv has only if it defines them. `seed`: Gymnasium's check_env takes an attribute of that name to
# mean the API before 0.26. Names with an underscore belong to the simulator.
NEVER_FORWARDED = {"seed"}
# Names of this class that Gymnasium's Env lacks and a simulator may have too: many goals are called `target`.
SHADOWED = {"target", "call", "step_async", "step_wait"}
# Attributes that may be assigned in this process without telling the simulator: those that Gymnasium's Env keeps.
CLIENT_SIDE = {"action_space", "observation_space", "metadata", "render_mode", "reward_range"}
# Private fields of this class and of Gymnasium's Env. Any other private name belongs to the simulator and stays there.
PRIVATE_FIELDS = {
    "_action_layout", "_at_close", "_bound_bytes", "_changed_in", "_compiled_for", "_compiled_reset",
    "_compiled_step", "_connection",
    "_finalizer", "_layout",
    "_layout_versions", "_limits_s", "_observer", "_origin", "_own_generator", "_recreate", "_remote_spec",
    "_restart", "_restart_policy", "_restarting", "_spec", "_stand_in_seed", "_target", "_tell_step",
}  # fmt: skip


class RemoteEnv(CopiedByRecipe, GeneratorOfSimulator, Restartable, gymnasium.Env[Any, Any]):  # type: ignore[override]
    """An env in another interpreter. All results are the simulator's, in value and in type.

    Each call blocks until the simulator has answered, at most for the timeout of its kind. Arrays in observations,
    infos and frames are new in each call, writeable, and the caller's to keep. An error that the simulator raises is an
    EnvError. The env stays usable after it, and after CannotCross; docs/errors.md lists the errors that close the env.

    To read, call or assign a public attribute that this class does not define means the simulator's attribute:
    ``env.unwrapped.state``, ``env.unwrapped.goal = x``. A value that is read is a copy. A method of the simulator reads
    as a RemoteMethod. Four names belong to this class and hide the simulator's: ``target``, ``call``, ``step_async``
    and ``step_wait``. If a simulator has them too, ``get_wrapper_attr`` and ``set_wrapper_attr`` mean the simulator's.
    """

    _layout: Layout | None
    _action_layout: Layout | None
    _target: dict[str, Any]
    _remote_spec: dict[str, Any]
    _compiled_step: CompiledStep
    _compiled_for: tuple[Any, ...]

    def __init__(
        self,
        connection: Connection,
        description: Mapping[str, Any],
        *,
        timeouts: Timeouts = MappingProxyType({}),
        recreate: "Callable[[], RemoteEnv] | None" = None,
        restart: Opening | None = None,
        at_close: Callable[[float], object] | None = None,
        origin: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Hold an env that a server has made.

        Args:
            connection: the connection to the server; the env owns it from here on.
            description: the server's answer to MAKE.
            timeouts: seconds for reset, step, render, call and close; a missing one means no limit.
            recreate: starts another server that makes the same env, for a pickled or copied env. It must pickle.
            restart: starts another server for the next reset() after one has failed; None for never.
            at_close: called after closing, with the seconds that it may take: releases the resources of ``restart``.
            origin: what the env was made from: ``entry`` (its key in envs.toml, or None) and the server's recipe.
        """
        self._limits_s = limits_of(timeouts)
        self._recreate = recreate
        self._allow_restart(restart, at_close, self._limits_s["close"])
        self._origin = dict(origin)  # also holds the plain data of the spaces
        self._observer: CallObserver | None = None
        self._tell_step: Callable[[Any], None] | None = None  # the observer's method, cached for step()
        self._compiled_reset: CompiledReset = no_reset
        self._spec: EnvSpec | None = None
        self._stand_in_seed = self._own_generator = None
        self._attach(connection, description)

    def _attach(self, connection: Connection, description: Mapping[str, Any]) -> None:
        """Hold the env of a server that has just made it. Raises ProtocolError if its description is invalid."""
        with reading_description(connection.close):
            self._hold(connection, description)

    def _hold(self, connection: Connection, description: Mapping[str, Any]) -> None:
        own = self.__dict__
        new: dict[str, Any] = {name: own[name] for name in (*FACTS, "_origin") if name in own}
        new.update(_layout=None, _action_layout=None, _layout_versions={}, _forms=forms_of(connection))
        tell: weakref.WeakMethod[Any] = weakref.WeakMethod(self._tell_fact)
        apply_facts(new, connection, tell, {name: description[name] for name in FACTS})
        connection.on_changed = partial(apply_facts, own, connection, tell)
        connection.close_s = self._limits_s["close"]
        stated = "max_episode_steps", "reward_threshold", "nondeterministic"
        new["_remote_spec"] = {name: description["spec"][name] for name in stated}
        new["_target"] = {**description["target"]}
        new["_finalizer"] = weakref.finalize(self, connection.close, connection.close_s)
        new.update(_connection=connection, _compiled_reset=no_reset, _compiled_step=never, _compiled_for=())
        own.update(new)  # all at once: see restart_policy.py

    @property
    def target(self) -> dict[str, Any]:
        """Facts about the simulator's side.

        ``executable``, ``python``, ``numpy``, ``api``, ``pid``, ``processors`` (how many it may use), ``env`` (the name
        of its class), ``takes_options`` (whether the simulator accepts ``reset(options=…)``), and ``frames``: how
        images travel, ``"raw"`` over shared memory, ``"jpeg:90 (lossy)"`` if they change. ``arrays``: the origin of
        arrays of other libraries so far, such as ``"torch cuda:0"``; None if there were none.
        """
        return {**self._target, "arrays": self._connection.arrays.seen}

    # -- Gymnasium's contract ------------------------------------------------------------------------------------

    def reset(
        self, *args: Any, seed: Any = None, options: dict[str, Any] | None = None, **more: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode: (observation, info), as the simulator returns them.

        The seed, of any type, and further arguments (``args``, ``more``) go to the simulator's ``reset`` unchanged. If
        it cannot take the seed or the options, ApiMismatch is raised. With ``restart = "on-reset"`` this starts another
        server if the last one has failed; without a seed, the new env is not seeded.
        """
        if seed is not None:
            self._stand_in_seed = seed
        if self._restart and self._connection.has_failed():
            self._start_again()
        if seed is None and options is None and not args and not more and self._observer is None:
            result = self._compiled_reset()
            if result is not NOT_COMPILED:
                return result
            self._compiled_reset = compile_reset(self._connection, self._limits_s["reset"])  # for the next one
        arguments = encode(("$.seed", seed), ("$.options", options), *further_fields(args, more))
        return self._call(messages.RESET, arguments, lambda frame: result_of(frame, 2))

    def step(self, action: Any, *args: Any, **more: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """(observation, reward, terminated, truncated, info), as the simulator returns them.

        Further arguments (``args``, ``more``) go to the simulator's ``step`` unchanged.
        """
        if not args and not more:
            result = self._compiled_step(action)
            if result is not NOT_COMPILED:
                return result
        connection, limit_s = self._connection, self._limits_s["step"]
        while True:
            changes = connection.changes
            self._compile_step()
            kind, arguments = self._step_call(action, args, more)
            read = partial(step_result, self._layout, self._forms)
            try:
                if self._observer is None:
                    return connection.call(kind, arguments, limit_s, read, changes=changes)
                given = (action, args, more) if args or more else (action,)
                return observed_step(connection, self._observer, kind, arguments, given, limit_s, read, changes)
            except SpacesChanged:
                pass  # the call that this one waited for has stored them

    def step_async(self, action: Any, *args: Any, **more: Any) -> None:
        """Start a step and return at once; ``step_wait`` returns its result. The caller may work in between.

        Raises AlreadyPendingCallError if a step is pending. While it is pending, all other calls raise it too.
        """
        while True:
            changes = self._connection.changes
            kind, arguments = self._step_call(action, args, more)
            read = partial(step_result, self._layout, self._forms)
            try:
                self._connection.begin(kind, arguments, self._limits_s["step"], read, changes)
                break
            except SpacesChanged:
                pass
        if self._observer is not None:
            self._observer.step_sent((action, args, more) if args or more else (action,))

    def step_wait(self) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The result of the step that ``step_async`` started. Raises NoAsyncCallError if none was started."""
        try:
            return self._connection.finish(tell=self._tell_step)
        except BaseException as error:
            if self._observer is not None:
                self._observer.failed(messages.STEP, (), error)
            raise

    def render(self, *args: Any, **more: Any) -> Any:
        """The simulator's rendering, in the mode it was made with. Arguments go to its ``render`` unchanged.

        Returns:
            An array (height, width, 3) of uint8, a list of them, a text, None: whatever the simulator returned.
        """
        return self._call(messages.RENDER, encode(*further_fields(args, more)), one)

    def close(self) -> None:
        """Close the simulator and wait until its process has ended. May be called repeatedly.

        Blocks for at most ``timeouts.close`` and 3 s: with the default timeouts, 8 s.
        """
        self._close_connection(self._limits_s["close"])
        if self._observer is not None:
            self._observer.closed()

    @property
    def spec(self) -> EnvSpec | None:
        """The spec from ``gym.make``, with the simulator's own limit and threshold in it."""
        return self._spec

    @spec.setter
    def spec(self, value: EnvSpec | None) -> None:
        if value is not None:
            value = copy.copy(value)
            for name, stated in self._remote_spec.items():
                setattr(value, name, getattr(value, name) or stated)
        self._spec = value

    @property
    def _max_episode_steps(self) -> int | None:
        """The limit of the simulator's own TimeLimit; None without one. LeRobot reads it by this name."""
        return self._remote_spec["max_episode_steps"]

    # -- attributes of the simulator -----------------------------------------------------------------------------

    def call(self, method: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run code in the simulator's process and return its result.

        Args:
            method: the name of a method of the env or of a wrapper, or of a nested object (``"sim.get_state"``); or
                ``"package.module:function"``, which gets the env as its first argument; or a callable, which does too,
                travels by cloudpickle, and needs the same minor version of Python and a server that the env started.
            args: for the method; they must have a form on the wire.
            kwargs: for the method, as ``args``.

        Raises:
            EnvError: the called code raised.
            CannotCross: an argument, the callable, or the result has no form on the wire.
        """
        given = ("$.args", args), ("$.kwargs", kwargs)
        if isinstance(method, str) and ":" not in method:
            return self._call(messages.CALL, encode(("$.method", method), *given), one)
        return self._call(messages.CALL_FUNCTION, encode(("$.function", portable(method)), *given), one)

    def has_wrapper_attr(self, name: str) -> bool:
        """Whether this object, or (while it is open) the simulator's env or one of its wrappers, has the attribute."""
        is_own = self._is_own(name) and not is_private(name)
        return is_own or (name not in NEVER_FORWARDED and self._has(name))

    def get_wrapper_attr(self, name: str) -> Any:
        """The attribute of this object, or of the simulator's env or one of its wrappers. Raises AttributeError.

        Names with dots between them read nested objects: ``"sim.data.qpos"``. A name with an underscore means the
        simulator's, and so does one that this class adds to Gymnasium's, such as ``target``, if the simulator has it.
        """
        is_own = self._is_own(name) and not is_private(name) and not self._is_shadowed(name)
        is_local = is_own or name in NEVER_FORWARDED
        return getattr(self, name) if is_local else self._read(name)

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        """Set an attribute in the simulator where it exists; with ``force`` else on the bare env."""
        if self._is_own(name) and not is_private(name) and not self._is_shadowed(name):
            setattr(self, name, value)
            return True
        return self._ask(messages.SET, name, value, force)

    def __getattr__(self, name: str) -> Any:
        """An attribute that only the simulator has. Raises AttributeError (as EnvAttributeError) if it has none."""
        if not _is_forwarded(name):
            advice = '\n  try: env.unwrapped.call("seed", …), where the simulator has it' if name == "seed" else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{advice}")
        return self._read(name)

    def __dir__(self) -> list[str]:
        """The names of this object, and the public names of the simulator while the env is open: for completion."""
        theirs = public_names(partial(self._call, messages.NAMES, Encoder(), one))
        return sorted({*super().__dir__(), *theirs} - NEVER_FORWARDED)

    def _read(self, name: str) -> Any:
        """The simulator's attribute. Raises AttributeError, in one of three forms, if it cannot be read."""
        try:
            is_callable, value = self._call(messages.GET, encode(("$.name", name)), attribute_of)
        except CannotCross as error:
            raise AttributeCannotCross(str(error), **vars(error)) from error
        except ClosedError as error:
            raise AttributeOfClosedError(str(error)) from error
        return RemoteMethod(self, name) if is_callable else value

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of this object if this object defines it, else in the simulator."""
        if name.startswith("_") and name not in PRIVATE_FIELDS:
            raise AttributeError(
                f"{name!r} is private to the simulator, and does not cross\n"
                '  try: a function that sets it there, env.unwrapped.call("package.module:function", value)'
            )
        if name in FACTS and "_connection" in self.__dict__:
            self._tell_fact(name, value)
        elif self._is_own(name) or not _is_forwarded(name):
            super().__setattr__(name, value)
        else:
            self._ask(messages.SET, name, value, True)

    def _tell_fact(self, name: str, value: Any) -> None:
        """Set one of FACTS in the simulator, on the bare env, to which ``env.unwrapped`` points."""
        self._call(messages.SET, encode(("$.name", name), ("$.value", fact_data(name, value)), ("$.force", True)), one)
        if self.__dict__[name] == value and name != "metadata":
            super().__setattr__(name, value)  # the object itself: the simulator has only a copy

    def _carried(self) -> dict[str, Any]:
        return {"_spec": self._spec}

    def _require_reset(self) -> None:
        self._call(messages.REQUIRE_RESET, Encoder(), one)

    def __repr__(self) -> str:
        """The env's class and its interpreter; also ``frames`` if they are lossy."""
        frames = str(self._target.get("frames", ""))
        lossy = f", frames {frames}" if "lossy" in frames else ""
        return f"<RemoteEnv {self._target['env']} in Python {self._target['python']}, {self._target['api']}{lossy}>"

    # ------------------------------------------------------------------------------------------------------------

    def _start_again(self) -> bool:
        is_another = super()._start_again()
        if is_another and self._observer is not None:
            self._observer.restarted()
        return is_another

    def _call(self, kind: int, arguments: Encoder, read: Callable[[Frame], Any]) -> Any:
        limit_s = self._limits_s[messages.CALL_NAMES[kind]]
        if self._observer is None or kind not in OBSERVED:
            return self._connection.call(kind, arguments, limit_s, read)
        return observed_call(self._connection, self._observer, kind, arguments, limit_s, read)

    def _report_to(self, observer: CallObserver) -> None:
        self._observer, self._tell_step = observer, observer.step_answered
        self._compiled_step = never  # the next step compiles it with the observer

    def _compile_step(self) -> None:
        """Compile the next steps, unless they are compiled for the present spaces."""
        connection, observer = self._connection, self._observer
        changes = connection.changes  # read first: another thread's call may store new layouts at any moment
        if (connection, changes, observer) != self._compiled_for:
            layouts = self._action_layout, self._layout, self._forms
            self._compiled_step = compile_step(connection, *layouts, self._limits_s["step"], observer, changes)
            self._compiled_for = connection, changes, observer

    def _step_call(self, action: Any, args: tuple[Any, ...], more: dict[str, Any]) -> tuple[int, Packed]:
        if args or more:
            return messages.STEP, encode(("$.action", action), *further_fields(args, more))
        packed = Packed()
        layout = self._action_layout
        packed.head += layout.stamp if layout is not None else b""
        if layout is not None and layout.pack(action, packed.head, packed.buffers):
            return messages.STEP_PACKED, packed
        return messages.STEP, encode(("$.action", action))

    def _ask(self, kind: int, name: str, *rest: Any) -> Any:
        return self._call(kind, encode(("$.name", name), *((f"$.{name}", value) for value in rest)), one)

    def _has(self, name: str) -> bool:
        try:
            return self._ask(messages.HAS, name)
        except ClosedError:
            return False

    def _is_shadowed(self, name: str) -> bool:
        """Whether the simulator has an attribute under one of the names that this class adds to Gymnasium's."""
        return name in SHADOWED and self._has(name)

    def _is_own(self, name: str) -> bool:
        return name in CLIENT_SIDE or name in self.__dict__ or hasattr(type(self), name)


def _is_forwarded(name: str) -> bool:
    return not name.startswith("_") and name not in NEVER_FORWARDED
