"""``np_random`` of a remote env: a local generator that draws with the state of the simulator's generator.

Knows numpy's generators, and the call that reads their state and writes it back. Python 3.10 and up.

Each method fetches the state into a plain numpy generator, draws from that, and sends its new state back: two round
trips per draw, and no cost for users who never draw. The fetched state is sent along, and the server refuses it if it
is out of date: another thread may have made a step in between. A copy is a plain numpy generator with the state at that
moment.

Interrupts. Nothing is kept from one draw to the next. So an interrupted draw either was made in the simulator or was
not, and the next one goes on from there.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from gym_service.client.connection import one
from gym_service.client.requests import encode
from gym_service.errors import CannotCross
from gym_service.protocol import messages
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import Frame
from gym_service.protocol.values import BadValue

# (name, what to write back or None) -> the server's answer about the generator of that name.
Ask = Callable[[str, "tuple[Any, ...] | None"], Any]
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class RemoteGenerator(np.random.Generator):
    """The simulator's Generator."""

    def __init__(self, name: str, ask: Ask) -> None:
        super().__init__(_bit_generator(name))
        self._name, self._ask = name, ask
        self._lock, self._local = threading.RLock(), np.random.Generator(_bit_generator(name))

    def _fetch(self) -> Any:
        fetched = _state(self._ask("np_random", None), "Generator", self._name)
        self._local.bit_generator.state = fetched
        return fetched

    def _put_back(self, fetched: Any) -> None:
        self._ask("np_random", ("Generator", self._name, self._local.bit_generator.state, fetched))

    def spawn(self, n_children: int) -> Any:
        """Refused: numpy spawns from the seed sequence, which is not part of the state."""
        raise CannotCross(
            "spawn() goes by the seed sequence, which only the simulator has"
            '\n  try: a function that spawns there, env.unwrapped.call("package.module:function")',
            path="$.np_random",
            type_name="SeedSequence",
        )

    @property
    def bit_generator(self) -> Any:
        """A copy of the simulator's, with its present state. Drawing from the copy does not change the simulator's."""
        with self._lock:
            copied = _bit_generator(self._name)
            copied.state = self._fetch()
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return np.random.Generator, (self.bit_generator,)


class RemoteRandomState(np.random.RandomState):
    """The simulator's RandomState, as gym up to 0.21 has one."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask
        self._lock, self._local = threading.RLock(), np.random.RandomState()

    def _fetch(self) -> Any:
        fetched = _state(self._ask("np_random", None), "RandomState", "MT19937")
        self._local.set_state(tuple(fetched))
        return fetched

    def _put_back(self, fetched: Any) -> None:
        self._ask("np_random", ("RandomState", "MT19937", list(self._local.get_state()), fetched))

    def __reduce__(self) -> tuple[Any, ...]:
        copied = np.random.RandomState()
        copied.set_state(self.get_state())
        return copied.__reduce__()


def _forward(cls: Any, base: type) -> None:
    """Make each public method of numpy's generator draw with the simulator's state."""
    for name in dir(base):
        method = getattr(base, name)
        if not name.startswith("_") and callable(method) and name not in vars(cls):
            setattr(cls, name, _drawing(method))


def _drawing(method: Any) -> Any:
    def draw(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:  # two threads would draw from one local generator
            fetched = self._fetch()
            try:
                return method(self._local, *args, **kwargs)
            finally:
                self._put_back(fetched)

    draw.__name__, draw.__doc__ = method.__name__, method.__doc__
    return draw


_forward(RemoteGenerator, np.random.Generator)
_forward(RemoteRandomState, np.random.RandomState)


class GeneratorOfSimulator:
    """The generator of a remote env. Subclasses define ``_call`` and ``_read``."""

    _stand_in_seed: int | None
    _own_generator: Any

    def _call(self, kind: int, arguments: Encoder, read: Callable[[Frame], Any]) -> Any:
        raise NotImplementedError

    def _ask_generator(self, name: str, put: "tuple[Any, ...] | None") -> Any:
        return self._call(messages.RANDOM, encode(("$.name", name), ("$.np_random", put)), one)

    @property
    def np_random(self) -> Any:
        """The simulator's generator, always the same object. Drawing from it draws from the simulator's.

        Raises AttributeError if the simulator has none, and CannotCross if it is not a numpy generator.
        """
        return self._generator("np_random")

    @np_random.setter
    def np_random(self, value: Any) -> None:
        if isinstance(value, np.random.RandomState):
            self._ask_generator("np_random", ("RandomState", "MT19937", list(value.get_state()), None))
        else:
            bit_generator = value.bit_generator
            data = ("Generator", type(bit_generator).__name__, bit_generator.state, None)
            self._ask_generator("np_random", data)

    @property
    def _np_random(self) -> Any:  # type: ignore[override, unused-ignore]
        """The simulator's generator as checkers read it: None before it exists, a stand-in for one of an old kind."""
        found = self._ask_generator("_np_random", None)
        if found is None:
            return None
        if found[0] == "Generator":
            return self._generator("_np_random")
        seed = self._stand_in_seed
        return None if type(seed) is not int or seed < 0 else seeding.np_random(seed)[0]

    @property
    def np_random_seed(self) -> Any:
        """The simulator's. Raises AttributeError if it has none."""
        return self._read("np_random_seed")

    def _read(self, name: str) -> Any:
        raise NotImplementedError

    def _generator(self, name: str) -> Any:
        found = self._ask_generator(name, None)
        self._own_generator = _generator_for(found, self._own_generator, self._ask_generator)
        return self._own_generator


class GeneratorsOfSimulators:
    """The generators of a remote vector env. Subclasses define ``_ask_workers``."""

    num_envs: int
    _own_generators: tuple[Any, ...]

    def _ask_workers(self, name: str, asked: "Mapping[int, tuple[Any, ...] | None]") -> "Mapping[int, Any]":
        """The result of ``Ask`` for each env in ``asked``, which maps its index to what is written back."""
        raise NotImplementedError

    def _generators(self) -> tuple[Any, ...]:
        found = self._ask_workers("np_random", dict.fromkeys(range(self.num_envs)))
        kept = self._own_generators or (None,) * self.num_envs
        self._own_generators = tuple(
            _generator_for(found[index], kept[index], partial(self._ask_one, index)) for index in range(self.num_envs)
        )
        return self._own_generators

    def _ask_one(self, index: int, name: str, put: "tuple[Any, ...] | None") -> Any:
        return self._ask_workers(name, {index: put})[index]


def _generator_for(found: Any, kept: Any, ask: Ask) -> Any:
    """The object that stands for a generator: the existing one if it fits, else a new one."""
    if not isinstance(found, tuple) or len(found) != 3:
        raise BadValue(f"not a generator: {found!r}")
    kind, bit_generator, _ = found
    if kind == "RandomState":
        return kept if type(kept) is RemoteRandomState else RemoteRandomState(ask)
    if kind != "Generator":
        raise CannotCross("np_random is not a numpy generator", path="$.np_random", type_name=kind)
    if type(kept) is RemoteGenerator and kept._name == bit_generator:
        return kept
    return RemoteGenerator(bit_generator, ask)


def _bit_generator(name: str) -> Any:
    if name not in BIT_GENERATORS:
        raise BadValue(f"not a bit generator: {name!r}")
    return getattr(np.random, name)()


def _state(found: Any, kind: str, name: str) -> Any:
    if not isinstance(found, tuple) or found[:2] != (kind, name):
        raise CannotCross(f"np_random is no longer a {kind} with a {name}", path="$.np_random", type_name="")
    return found[2]
