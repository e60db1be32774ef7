"""The vector env that a user holds for a simulator that is one itself: EnvPool, Isaac Gym, gymnasium's make_vec.

Knows Gymnasium's API for vector envs, and the calls. Never knows how the server was started. Python 3.10 and up,
Gymnasium 1.0 and up. Unlike ``vector.py`` it assembles no batch: the simulator does.
"""

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import gymnasium.vector
from gymnasium.spaces import GraphInstance

from gym_service.client.answers import attribute_of, further_fields, result_of
from gym_service.client.compiled_call import NOT_COMPILED
from gym_service.client.compiled_step import CompiledStep, compile_vectorized_step
from gym_service.client.connection import Connection, one
from gym_service.client.copying import CopiedByRecipe
from gym_service.client.env_facts import reading_description
from gym_service.client.generator import GeneratorOfSimulator
from gym_service.client.remote_method import RemoteMethod, public_names
from gym_service.client.requests import Timeouts, encode, limits_of
from gym_service.client.restart_policy import Opening, Restartable
from gym_service.client.spaces import refuse_larger, space_from
from gym_service.client.vector import AutoresetMode
from gym_service.errors import AttributeCannotCross, AttributeOfClosedError, CannotCross, ClosedError
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import Frame
from gym_service.protocol.layout import MAX_LAYOUT_BYTES, Layout, compile_layout
from gym_service.protocol.result_forms import FormReader
from gym_service.protocol.values import BadValue

# The attributes of Gymnasium's VectorEnv that this class keeps itself; all others belong to the simulator.
CLIENT_SIDE = {"spec", "metadata", "render_mode", "closed", "num_envs", "observation_space", "action_space"}
CLIENT_SIDE |= {"single_observation_space", "single_action_space"}


def _step_result(forms: FormReader, frame: Frame) -> Any:
    """The result of step(). Not a method: the connection keeps this function, and must not keep the env alive."""
    return forms.unpack(frame) if frame.kind == messages.STEPPED else forms.read(frame, 5, GraphInstance)


class _Method(RemoteMethod):
    """A method of the vector env itself, while ``call`` would call a method of its single envs."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._env._call_method(self.__name__, args, kwargs)


class RemoteVectorizedEnv(CopiedByRecipe, GeneratorOfSimulator, Restartable, gymnasium.vector.VectorEnv[Any, Any, Any]):  # type: ignore[override]
    """A vector env in another interpreter, in one server process. All results are the simulator's.

    A step is one round trip for the whole batch. Observations, rewards, flags and infos have the types and dtypes that
    the simulator returns; arrays are new in each call, writeable, and the caller's to keep. Further arguments of
    ``reset`` and ``step``, such as EnvPool's ``env_id``, reach the simulator unchanged, and so do seeds, lists of seeds
    and ``options={"reset_mask": …}``.

    ``metadata["autoreset_mode"]`` is an AutoresetMode. If the simulator does not state it, it is missing, as
    in-process, and ``target["autoreset_mode"]`` is ``"unknown"``. A mode that Gymnasium does not have is unknown too,
    and stays in the metadata as given. The spaces are those that the simulator had when it was made. Public attributes
    that this class does not define are the simulator's, as with a RemoteEnv.
    """

    _action_layout: Layout | None
    _target: dict[str, Any]
    _read_step: Callable[[Frame], Any]
    _compiled_step: CompiledStep

    def __init__(
        self,
        connection: Connection,
        description: Mapping[str, Any],
        *,
        timeouts: Timeouts = MappingProxyType({}),
        recreate: "Callable[[], RemoteVectorizedEnv] | None" = None,
        restart: Opening | None = None,
        at_close: Callable[[float], object] | None = None,
    ) -> None:
        """Hold a vector env that a server has made: see ``RemoteEnv``. Raises ProtocolError if it is not one."""
        self._limits_s = limits_of(timeouts)
        self._recreate = recreate
        self._stand_in_seed = self._own_generator = None
        self._allow_restart(restart, at_close, self._limits_s["close"])
        self._attach(connection, description)

    def _attach(self, connection: Connection, description: Mapping[str, Any]) -> None:
        """Hold the vector env of a server that has just made it. Raises ProtocolError if it is not one."""
        forms = FormReader(arrays=connection.arrays)
        read_step = partial(_step_result, forms)
        connection.close_s = self._limits_s["close"]
        with reading_description(connection.close, "vector env"):
            new = self._held(connection, description)
        connection.allow_replies_of(connection.bound_bytes)
        compiled = compile_vectorized_step(connection, new["_action_layout"], forms, self._limits_s["step"], read_step)
        finalizer = weakref.finalize(self, connection.close, connection.close_s)
        new.update(_connection=connection, _read_step=read_step, _compiled_step=compiled, _finalizer=finalizer)
        self.__dict__.update(new)  # all at once: see restart_policy.py

    def _held(self, connection: Connection, description: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that a description gives, and the bound of the connection that fits them."""
        vector = description["vector"]
        new: dict[str, Any] = {"num_envs": vector["num_envs"]}
        if type(new["num_envs"]) is not int or new["num_envs"] < 0:
            raise BadValue(f"not a number of envs: {new['num_envs']!r}")
        for name in ("observation_space", "action_space"):
            single = vector["single_" + name]
            refuse_larger(single, connection.bound_bytes)
            refuse_larger(description[name], MAX_LAYOUT_BYTES)
            new["single_" + name], new[name] = space_from(single), space_from(description[name])
        layouts = [
            compile_layout(vector["single_" + name], new["num_envs"]) for name in ("observation_space", "action_space")
        ]
        new["_action_layout"] = layouts[1]
        connection.bound_bytes += sum(layout.size_bytes for layout in layouts if layout)
        new.update(metadata=dict(description["metadata"]), render_mode=description["render_mode"])
        mode = vector["autoreset_mode"]
        if mode not in [known.value for known in AutoresetMode]:
            mode = None
        if mode is not None:
            new["metadata"]["autoreset_mode"] = AutoresetMode(mode)
        new["_target"] = {**description["target"], "autoreset_mode": mode or "unknown"}
        return new

    @property
    def target(self) -> dict[str, Any]:
        """Facts as in ``RemoteEnv.target``; and ``autoreset_mode``, which is ``"unknown"`` if it is not stated."""
        return {**self._target, "arrays": self._connection.arrays.seen}

    # -- Gymnasium's contract ------------------------------------------------------------------------------------

    def reset(self, *args: Any, seed: Any = None, options: dict[str, Any] | None = None, **more: Any) -> Any:
        """Start episodes: (observations, infos), as the simulator returns them. All arguments go to it unchanged.

        With ``restart = "on-reset"`` this starts another server if the last one has failed.
        """
        self._stand_in_seed = self._stand_in_seed if seed is None else seed
        if self._restart and self._connection.has_failed():
            self._start_again()
        arguments = encode(("$.seed", seed), ("$.options", options), *further_fields(args, more))
        return self._call(messages.RESET, arguments, lambda frame: result_of(frame, 2))

    def step(self, actions: Any, *args: Any, **more: Any) -> Any:
        """(observations, rewards, terminations, truncations, infos), as the simulator returns them."""
        if not args and not more:
            result = self._compiled_step(actions)
            if result is not NOT_COMPILED:
                return result
        kind, arguments = self._step_call(actions, args, more)
        return self._connection.call(kind, arguments, self._limits_s["step"], self._read_step)

    def step_async(self, actions: Any, *args: Any, **more: Any) -> None:
        """Start a step and return at once; ``step_wait`` returns its result. See ``RemoteEnv.step_async``."""
        kind, arguments = self._step_call(actions, args, more)
        self._connection.begin(kind, arguments, self._limits_s["step"], self._read_step)

    def step_wait(self) -> Any:
        """The result of the step that ``step_async`` started. Raises NoAsyncCallError if none was started."""
        return self._connection.finish(self._read_step)

    def render(self, *args: Any, **more: Any) -> Any:
        """The simulator's rendering."""
        return self._call(messages.RENDER, encode(*further_fields(args, more)), one)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The result of the simulator's own ``call``: in Gymnasium's vector envs a tuple with the result of each env.

        ``"package.module:function"`` is called in the simulator's process with the vector env as its first argument, as
        in ``RemoteEnv.call``.
        """
        if ":" in name:
            return self._call(
                messages.CALL_FUNCTION, encode(("$.function", name), ("$.args", args), ("$.kwargs", kwargs)), one
            )
        return self._call_method("call", (name, *args), kwargs)

    def get_attr(self, name: str) -> Any:
        """The result of the simulator's own ``get_attr``."""
        return self._call_method("get_attr", (name,), {})

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute with the simulator's own ``set_attr``."""
        self._call_method("set_attr", (name, values), {})

    def close_extras(self, **kwargs: Any) -> None:
        """Close the simulator and wait until its process has ended; ``close`` calls this. Blocks as RemoteEnv.close."""
        self._close_connection(self._limits_s["close"])

    # -- attributes of the simulator -----------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        """An attribute that only the simulator has. Raises AttributeError (as EnvAttributeError) if it has none."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._read(name)

    def __dir__(self) -> list[str]:
        """The names of this object, and the public names of the simulator while the env is open: for completion."""
        return sorted({*super().__dir__(), *public_names(partial(self._call, messages.NAMES, Encoder(), one))})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of this object if this object defines it, else in the simulator."""
        if name.startswith("_") or name in CLIENT_SIDE or hasattr(type(self), name):
            super().__setattr__(name, value)
        else:
            self._call(messages.SET, encode(("$.name", name), (f"$.{name}", value), ("$.force", True)), one)

    def __repr__(self) -> str:
        """The class of the vector env, the number of its envs, and its interpreter."""
        target = self._target
        return f"<RemoteVectorizedEnv {target['env']} of {self.num_envs} in Python {target['python']}, {target['api']}>"

    # ------------------------------------------------------------------------------------------------------------

    def _read(self, name: str) -> Any:
        try:
            is_callable, value = self._call(messages.GET, encode(("$.name", name)), attribute_of)
        except CannotCross as error:
            raise AttributeCannotCross(str(error), **vars(error)) from error
        except ClosedError as error:
            raise AttributeOfClosedError(str(error)) from error
        return _Method(self, name) if is_callable else value

    def _call_method(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._call(messages.CALL, encode(("$.method", name), ("$.args", args), ("$.kwargs", kwargs)), one)

    def _call(self, kind: int, arguments: Encoder, read: Callable[[Frame], Any]) -> Any:
        return self._connection.call(kind, arguments, self._limits_s[messages.CALL_NAMES[kind]], read)

    def _step_call(self, actions: Any, args: tuple[Any, ...], more: dict[str, Any]) -> tuple[int, Packed]:
        layout = self._action_layout
        if layout is not None and not args and not more:
            packed = Packed()
            packed.head += layout.stamp
            if layout.pack(actions, packed.head, packed.buffers):
                return messages.STEP_PACKED, packed
        return messages.STEP, encode(("$.action", actions), *further_fields(args, more))

    def _carried(self) -> dict[str, Any]:
        return {"spec": self.spec}

    def _require_reset(self) -> None:
        self._call(messages.REQUIRE_RESET, Encoder(), one)
