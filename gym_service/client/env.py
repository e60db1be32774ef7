"""The env that a user holds: a gymnasium.Env whose simulator lives in another interpreter.

Knows Gymnasium's contract and the calls. Never knows how the server was started. Python 3.10 and up.
"""

import copy
import threading
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec

from gym_service.client.answers import attribute_of, further_fields, result_of, step_result
from gym_service.client.connection import Connection, SpacesChanged, one
from gym_service.client.copying import CopiedByRecipe
from gym_service.client.env_facts import FACTS, apply_facts, fact_data
from gym_service.client.generator import GeneratorOfSimulator
from gym_service.client.observer import OBSERVED, CallObserver, observed_call, observed_step
from gym_service.client.remote_method import RemoteMethod, public_names
from gym_service.client.requests import Timeouts, encode, limits_of, portable
from gym_service.client.restart_policy import RestartPolicy
from gym_service.errors import AttributeCannotCross, AttributeOfClosedError, CannotCross, ClosedError, ProtocolError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import Frame
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.layout import Layout
from gym_service.protocol.values import BadValue

# Names that nobody finds on a RemoteEnv unless it defines them. `seed`: Gymnasium's check_env takes an attribute of
# that name for the API before 0.26. Names with an underscore are the simulator's own.
NEVER_FORWARDED = {"seed"}
# What this class has beyond Gymnasium's Env, and a simulator may have too: many a goal is called `target`.
SHADOWED = {"target", "call", "step_async", "step_wait"}
# What of this process may be assigned without the simulator hearing of it: what Gymnasium's Env keeps on itself.
CLIENT_SIDE = {"action_space", "observation_space", "metadata", "render_mode", "reward_range"}
# What this class and Gymnasium's Env keep under private names. Any other is the simulator's, and stays there.
PRIVATE_FIELDS = {
    "_action_layout",
    "_at_close",
    "_bound_bytes",
    "_changed_in",
    "_connection",
    "_finalizer",
    "_layout",
    "_layout_versions",
    "_limits_s",
    "_own_generator",
    "_stand_in_seed",
    "_observer",
    "_origin",
    "_recreate",
    "_remote_spec",
    "_restart",
    "_restart_policy",
    "_restarting",
    "_spec",
    "_target",
    "_tell_step",
}

# Starts a server that makes the env: the connection to it, and its description.
Opening = Callable[[], tuple[Connection, Mapping[str, Any]]]


class RemoteEnv(CopiedByRecipe, GeneratorOfSimulator, gymnasium.Env[Any, Any]):  # type: ignore[override]
    """An env in another interpreter. Everything it gives is what the simulator gave, in value and in type.

    Each call blocks until the simulator has answered, at most for the timeout of its kind. Arrays in observations,
    infos and frames are new memory in each call, writeable and the caller's to keep. An error that the simulator
    raises is an EnvError, and the env stays usable, as after CannotCross; what closes it stands in docs/errors.md.

    Reading, calling and assigning a public attribute that this class does not define means the simulator's:
    ``env.unwrapped.state``, ``env.unwrapped.goal = x``. What is read is a copy. A method of the simulator reads as a
    RemoteMethod. Four names are this class's own and hide the simulator's: ``target``, ``call``, ``step_async`` and
    ``step_wait``. Where a simulator has them too, ``get_wrapper_attr`` and ``set_wrapper_attr`` mean the simulator's.
    """

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
            connection: to the server; the env owns it from here on.
            description: the server's answer to MAKE.
            timeouts: seconds for reset, step, render, call and close; what is missing has no limit.
            recreate: starts another server that makes the same env: for a pickled or copied env. It must pickle.
            restart: starts another server for the next reset() after one has failed; None for never.
            at_close: called once it is closed, with the seconds that it may take: lets go what ``restart`` needs.
            origin: what it was made from: ``entry`` (its key in envs.toml, None without one) and the server's recipe.
        """
        self._limits_s = limits_of(timeouts)
        self._recreate = recreate
        self._restart = restart
        self._at_close = weakref.finalize(self, at_close, self._limits_s["close"]) if at_close else None
        self._restart_policy = RestartPolicy()
        self._restarting = threading.RLock()
        self._origin = dict(origin)  # and the plain data of the spaces
        self._observer: CallObserver | None = None
        self._tell_step: Callable[[Any], None] | None = None  # the observer's, found quickly by a step
        self._spec: EnvSpec | None = None
        self._stand_in_seed = self._own_generator = None
        self._attach(connection, description)

    def _attach(self, connection: Connection, description: Mapping[str, Any]) -> None:
        """Hold the env of a server that has just made it. Raises ProtocolError where it has described none."""
        try:
            self._hold(connection, description)
        except (ArithmeticError, AssertionError, AttributeError, BadValue, LookupError, TypeError, ValueError) as error:
            connection.close(0.0)
            if is_foreign(error):
                raise
            text = f"during make the other side described no env: {type(error).__name__}: {error}"
            raise ProtocolError(text, during="make") from error

    def _hold(self, connection: Connection, description: Mapping[str, Any]) -> None:
        self._connection = connection
        self._target = {**description["target"]}
        spec = description["spec"]
        self._remote_spec = {name: spec[name] for name in ("max_episode_steps", "reward_threshold", "nondeterministic")}
        self._layout, self._action_layout = cast("tuple[Layout | None, Layout | None]", (None, None))
        self._layout_versions: dict[str, int] = {}
        apply = partial(apply_facts, self.__dict__, connection, weakref.WeakMethod(self._tell_fact))
        apply({name: description[name] for name in FACTS})
        connection.on_changed = apply
        connection.close_s = self._limits_s["close"]
        self._finalizer = weakref.finalize(self, connection.close, connection.close_s)

    @property
    def target(self) -> dict[str, Any]:
        """Facts of the simulator's side.

        ``executable``, ``python``, ``numpy``, ``api``, ``pid``, ``env`` (the name of its class), ``takes_options``
        (whether ``reset(options=…)`` is anything that the simulator can take), and ``frames``: how pictures travel,
        ``"raw"`` where memory is shared, ``"jpeg:90 (lossy)"`` where they change. ``arrays``: which arrays of other
        libraries have come, such as ``"torch cuda:0"``; None while none has.
        """
        return {**self._target, "arrays": self._connection.arrays.seen}

    # -- Gymnasium's contract ------------------------------------------------------------------------------------

    def reset(
        self, *args: Any, seed: Any = None, options: dict[str, Any] | None = None, **more: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: (observation, info), as the simulator gives them.

        The seed, of any type, and further arguments (``args``, ``more``) go to the simulator's ``reset`` as they are.
        A seed and options that it cannot take are an ApiMismatch. With ``restart = "on-reset"`` this starts another
        server where the last one has failed; unseeded, if no seed is given.
        """
        self._stand_in_seed = self._stand_in_seed if seed is None else seed
        if self._restart and self._connection.has_failed():
            self._start_again()
        arguments = encode(("$.seed", seed), ("$.options", options), *further_fields(args, more))
        return self._call(messages.RESET, arguments, lambda frame: result_of(frame, 2))

    def step(self, action: Any, *args: Any, **more: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """(observation, reward, terminated, truncated, info), as the simulator gives them.

        Further arguments (``args``, ``more``) go to the simulator's ``step`` as they are.
        """
        connection, limit_s = self._connection, self._limits_s["step"]
        while True:
            changes = connection.changes
            kind, arguments = self._step_call(action, args, more)
            read = partial(step_result, self._layout)
            try:
                if self._observer is None:
                    return connection.call(kind, arguments, limit_s, read, changes=changes)
                given = (action, args, more) if args or more else (action,)
                return observed_step(connection, self._observer, kind, arguments, given, limit_s, read, changes)
            except SpacesChanged:
                pass  # the call that this one waited for has brought them

    def step_async(self, action: Any, *args: Any, **more: Any) -> None:
        """Begin a step and come back at once; ``step_wait`` gives its result. The time between is yours.

        Raises AlreadyPendingCallError where one has begun already; any other call meanwhile is refused likewise.
        """
        while True:
            changes = self._connection.changes
            kind, arguments = self._step_call(action, args, more)
            read = partial(step_result, self._layout)
            try:
                self._connection.begin(kind, arguments, self._limits_s["step"], read, changes)
                break
            except SpacesChanged:
                pass
        if self._observer is not None:
            self._observer.step_sent((action, args, more) if args or more else (action,))

    def step_wait(self) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """The result of the step that ``step_async`` has begun. Raises NoAsyncCallError where none has."""
        try:
            return self._connection.finish(tell=self._tell_step)
        except BaseException as error:
            if self._observer is not None:
                self._observer.failed(messages.STEP, (), error)
            raise

    def render(self, *args: Any, **more: Any) -> Any:
        """What the simulator renders in the mode it was made with. Arguments go to its ``render`` as they are.

        Returns:
            An array (height, width, 3) of uint8, a list of them, a text, None: whatever the simulator gave.
        """
        return self._call(messages.RENDER, encode(*further_fields(args, more)), one)

    def close(self) -> None:
        """Close the simulator and see its process to its end; any number of times.

        Blocks for at most ``timeouts.close`` and 3 s: with the usual timeouts, 8 s.
        """
        self._restart = None  # what the user has closed stays closed, also where it had failed before
        self._connection.close(self._limits_s["close"])
        if self._at_close and (release := self._at_close.peek()):
            release[1](*release[2])
            self._at_close.detach()
        self._finalizer.detach()  # not before: an interrupted close() can be called again
        if self._observer is not None:
            self._observer.closed()

    @property
    def spec(self) -> EnvSpec | None:
        """The spec that ``gym.make`` gave, with the simulator's own limit and threshold in it."""
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
        """The limit that the simulator's own TimeLimit applies; None without one. LeRobot reads it by this name."""
        return self._remote_spec["max_episode_steps"]

    # -- attributes of the simulator -----------------------------------------------------------------------------

    def call(self, method: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run something in the simulator's process and return what it returns.

        Args:
            method: the name of a method of the env or of a wrapper, also one further inside (``"sim.get_state"``); or
                ``"package.module:function"``, which is called with the env first; or a callable, which is called
                likewise, travels by cloudpickle, and needs the same minor version of Python and a server of this env.
            args: for the method; they must have a form on the wire.
            kwargs: likewise.

        Raises:
            EnvError: what was called raised.
            CannotCross: an argument, the callable, or the result has no form on the wire.
        """
        given = ("$.args", args), ("$.kwargs", kwargs)
        if isinstance(method, str) and ":" not in method:
            return self._call(messages.CALL, encode(("$.method", method), *given), one)
        return self._call(messages.CALL_FUNCTION, encode(("$.function", portable(method)), *given), one)

    def has_wrapper_attr(self, name: str) -> bool:
        """Whether this object, or (while it is open) the simulator's env or a wrapper there, has the attribute."""
        return self._is_own(name) or (name not in NEVER_FORWARDED and self._has(name))

    def get_wrapper_attr(self, name: str) -> Any:
        """The attribute of this object, or of the simulator's env or a wrapper there. Raises AttributeError.

        Names with dots between them lead further: ``"sim.data.qpos"``. A name with an underscore is the simulator's,
        and so is one of those that this class has beyond Gymnasium's, such as ``target``, where it has one.
        """
        is_local = name in NEVER_FORWARDED or (self._is_own(name) and not self._is_shadowed(name))
        return getattr(self, name) if is_local else self._read(name)

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        """Set an attribute in the simulator where it is; with ``force`` on the bare env where it is nowhere."""
        if self._is_own(name) and not self._is_shadowed(name):
            setattr(self, name, value)
            return True
        return self._ask(messages.SET, name, value, force)

    def __getattr__(self, name: str) -> Any:
        """An attribute that only the simulator has. Raises AttributeError (as EnvAttributeError) where it has none."""
        if not _is_forwarded(name):
            advice = '\n  try: env.unwrapped.call("seed", …), where the simulator has it' if name == "seed" else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{advice}")
        return self._read(name)

    def __dir__(self) -> list[str]:
        """The names of this object, and of an open env the public ones of the simulator: for completion."""
        theirs = public_names(partial(self._call, messages.NAMES, Encoder(), one))
        return sorted({*super().__dir__(), *theirs} - NEVER_FORWARDED)

    def _read(self, name: str) -> Any:
        """The simulator's attribute. Raises AttributeError, in one of three forms, where it is not to be had."""
        try:
            is_callable, value = self._call(messages.GET, encode(("$.name", name)), attribute_of)
        except CannotCross as error:
            raise AttributeCannotCross(str(error), **vars(error)) from error
        except ClosedError as error:
            raise AttributeOfClosedError(str(error)) from error
        return RemoteMethod(self, name) if is_callable else value

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of this object where it is one, else in the simulator."""
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
        """Set what this object shows of the simulator there, on the bare env, where ``env.unwrapped`` points."""
        self._call(messages.SET, encode(("$.name", name), ("$.value", fact_data(name, value)), ("$.force", True)), one)
        if self.__dict__[name] == value and name != "metadata":
            super().__setattr__(name, value)  # the very object: the simulator has none but a copy

    def _carried(self) -> dict[str, Any]:
        return {"_spec": self._spec}

    def _require_reset(self) -> None:
        self._call(messages.REQUIRE_RESET, Encoder(), one)

    def __repr__(self) -> str:
        """The class of the env and its interpreter; frames, where they are lossy."""
        frames = str(self._target.get("frames", ""))
        lossy = f", frames {frames}" if "lossy" in frames else ""
        return f"<RemoteEnv {self._target['env']} in Python {self._target['python']}, {self._target['api']}{lossy}>"

    # ------------------------------------------------------------------------------------------------------------

    def _start_again(self) -> None:
        with self._restarting:
            opening = self._restart
            if not opening or not self._connection.has_failed():
                return  # another thread has started it, or has closed the env
            self._restart_policy.wait_for_next(self._connection.failure)
            self._connection.close(0.0)  # it has failed, and its server is gone, unless that was interrupted
            self._finalizer.detach()
            self._attach(*opening())
            if self._restart is None:  # close() came meanwhile, and has closed the one that had failed
                self._connection.close(0.0)
                self._finalizer.detach()
        if self._observer is not None:
            self._observer.restarted()

    def _call(self, kind: int, arguments: Encoder, read: Callable[[Frame], Any]) -> Any:
        limit_s = self._limits_s[messages.CALL_NAMES[kind]]
        if self._observer is None or kind not in OBSERVED:
            return self._connection.call(kind, arguments, limit_s, read)
        return observed_call(self._connection, self._observer, kind, arguments, limit_s, read)

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
        """Whether the simulator has something of its own under a name that this class has beyond Gymnasium's."""
        return name in SHADOWED and self._has(name)

    def _is_own(self, name: str) -> bool:
        return name in CLIENT_SIDE or name in self.__dict__ or hasattr(type(self), name)


def _is_forwarded(name: str) -> bool:
    return not name.startswith("_") and name not in NEVER_FORWARDED
