"""A server that sends garbage: a wire error, never another exception, no growth of memory, nothing executed."""

import itertools
import math
import os
import pickle
import random
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gym_service_launcher.config import entry as entries
from support import procfs
from support.clock import Clock
from support.faulty import PROMPT_S, TRANSPORTS, action, faulty
from support.gone_peer import GonePeer
from support.opened import TARGET
from support.paths import ENVS
from support.targets import TARGETS

import gym_service
from gym_service import errors
from gym_service.client.connection import Connection, one
from gym_service.client.env import RemoteEnv
from gym_service.factory import open_env
from gym_service.protocol import messages, results
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import HEADER, MAGIC, VERSION, frame_bytes
from gym_service.protocol.layout import compile_layout
from gym_service.transport import channel

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

MORE_MEMORY_BYTES = 10 * 2**20
# After so many conversations, numpy, Gymnasium and malloc have allocated their caches.
WARM_UP = 400
# The errors that a user may see if the peer is not a real server.
ALLOWED = (errors.ProtocolError, errors.VersionMismatch, errors.ServerCrashed, errors.CannotCross, errors.EnvError)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """A real server's description of its env. Getting it also warms up everything that makes this process grow."""
    keys = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "entry_point": "faulty:FaultyEnv"}
    connection, found = open_env.connect(entries.entry("Faulty", keys), {})
    connection.close(5.0)
    whole = b"".join(conversation(found))
    for number in range(WARM_UP):
        converse(whole[: len(whole) * number // WARM_UP])
    return found


def frame(kind: int, call_id: int, *values: Any) -> bytes:
    encoder = Encoder()
    for value in values:
        encoder.add(value)
    return b"".join(map(bytes, frame_bytes(kind, call_id, encoder.head, encoder.buffers)))


def conversation(description: dict[str, Any]) -> list[bytes]:
    """The frames of a server that answers make, reset, step, render and an attribute correctly."""
    image = np.full((96, 96, 3), 7, np.uint8)
    observation = {"answers": np.array([1, 7, -49], np.int64), "image": image}
    packed = results.pack_step(compile_layout(description["observation_space"]), (observation, 7.0, False, False, {}))
    assert packed is not None
    return [
        frame(messages.RESULT, 1, description),
        frame(messages.RESULT, 2, observation, {"of": ["reset", 1.5]}),
        b"".join(map(bytes, frame_bytes(messages.STEPPED, 3, packed.head, packed.buffers))),
        frame(messages.RESULT, 4, image),
        frame(messages.RESULT, 5, False, 3),
    ]


def converse(said: bytes) -> Exception | None:
    """Make every kind of call to a server that has sent exactly these bytes. Returns the error that ended it."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        connection = Connection(channel.over_socket(ours), GonePeer())
        clock = Clock()
        try:
            env = RemoteEnv(connection, connection.call(messages.MAKE, Encoder(), 5.0, one))
            env.reset()
            env.step(action(7))
            env.render()
            env.number
        except ALLOWED as error:
            return error
        finally:
            connection.close(0.0)
            assert clock.took_s <= PROMPT_S
    return None


@contextmanager
def no_more_memory() -> Iterator[None]:
    """Assert that the process does not grow, after a few hundred conversations."""
    before = procfs.held_memory_bytes()
    yield
    assert procfs.held_memory_bytes() - before <= MORE_MEMORY_BYTES


def test_the_conversation_as_it_should_be(description: dict[str, Any]) -> None:
    assert converse(b"".join(conversation(description))) is None


def test_an_end_at_every_offset(description: dict[str, Any]) -> None:
    frames = conversation(description)
    whole = b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in range(len(frames) + 1)]
    # Inside the pixels of an image, all offsets are equivalent.
    near = {end + step for end in ends for step in range(-40, 400)} | set(range(0, len(whole), 997))
    offsets = sorted(offset for offset in near if 0 <= offset < len(whole))
    for end in offsets:
        assert isinstance(converse(whole[:end]), errors.ServerCrashed), end
    with no_more_memory():  # not the first time: malloc allocates its caches then
        for end in offsets:
            converse(whole[:end])


@pytest.mark.parametrize("flips", [1500, pytest.param(10_000, marks=pytest.mark.long)])
def test_flipped_bits(description: dict[str, Any], flips: int) -> None:
    whole = b"".join(conversation(description))
    chosen = random.Random(flips)
    # Half of them hit the description, which is a tenth of the bytes but has all of the structure.
    limits = (len(conversation(description)[0]), len(whole))
    with no_more_memory():
        for number in range(flips):
            spoilt = bytearray(whole)
            for _ in range(chosen.choice((1, 1, 2, 8))):
                spoilt[chosen.randrange(limits[number % 2])] ^= 1 << chosen.randrange(8)
            converse(bytes(spoilt))


def text(value: str) -> bytes:
    return b"s" + len(value).to_bytes(4, "little") + value.encode()


def array(tag: bytes, dtype: str, *shape: int, data: bytes = b"") -> bytes:
    shaped = bytes([len(shape)]) + b"".join(length.to_bytes(8, "little") for length in shape)
    return tag + text(dtype)[1:] + shaped + data


# Values that no encoder writes, by what is wrong with each.
RUBBISH: dict[str, bytes] = {
    "an object array of pointers": array(b"a", "|O", 4, data=bytes(32)),
    "a void": array(b"a", "|V1000000000", 1),
    "a negative length": array(b"a", "<i8", 2**64 - 1),
    "a huge length": array(b"a", "<i8", 2**40),
    "a length that wraps": array(b"a", "<i8", 2**61, 8),
    "huge beside nothing": array(b"a", "<i8", 2**40, 0, 2**40),
    "a huge text": array(b"a", "<U99999999", 1),
    "too many dimensions": array(b"a", "|u1", *([1] * 60), data=b"1"),
    "a huge array of objects": b"o" + bytes([1]) + (2**40).to_bytes(8, "little"),
    "a huge list": b"l" + (2**32 - 1).to_bytes(4, "little"),
    "a huge dict": b"d" + (2**32 - 1).to_bytes(4, "little"),
    "lists 100,000 deep": b"l\1\0\0\0" * 100_000 + b"N",
    "dicts 100,000 deep": b"d\1\0\0\0" * 100_000 + b"NN",
    "an unhashable key": b"d\1\0\0\0" + b"l\0\0\0\0" + b"N",
    "no text at all": b"s\4\0\0\0\xff\xff\xff\xff",
    "an unknown tag": b"\x80",
    "a pickle": pickle.dumps({"a": 1}),
    "another dtype": array(b"a", "m8[0s]", 1, data=bytes(8)),
}


@pytest.mark.parametrize("at", range(5))
def test_values_that_no_server_sends(description: dict[str, Any], at: int) -> None:
    frames = conversation(description)
    converse(b"".join(frames))
    with no_more_memory():
        for name, rubbish in RUBBISH.items():
            head = rubbish if at != 1 else rubbish + b"N"
            said = b"".join(frames[:at]) + b"".join(frame_bytes(messages.RESULT, at + 1, head))
            assert isinstance(converse(said), errors.ProtocolError), name


def test_frames_that_no_server_sends() -> None:
    def header(kind: int = messages.RESULT, call_id: int = 1, head: int = 0, count: int = 0) -> bytes:
        return HEADER.pack(MAGIC, VERSION, kind, call_id, head, count)

    with no_more_memory():
        for said in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"gS",
            HEADER.pack(MAGIC, VERSION + 1, 1, 1, 1, 0),
            header(head=2**32 - 1),
            header(count=2**32 - 1),
            header(count=1) + (2**40).to_bytes(8, "little"),
            header(count=1) + (2**64 - 1).to_bytes(8, "little"),
            header(count=1) + (1).to_bytes(8, "little") + b"x",
            header(call_id=2, head=1) + b"N",
            header(kind=1, head=1) + b"N",
            header(kind=200, head=1) + b"N",
        ):
            error = converse(said)
            assert isinstance(error, (errors.ProtocolError, errors.VersionMismatch, errors.ServerCrashed)), said


# Arbitrary values, to replace values of a certain type.
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, 1.5, math.nan, "", "text", b"bytes", [], [1], [[]], (), (1, 2), {}, {1: 2}),
    *({"kind": "Box"}, {"a": {"b": []}}, {1, 2}, np.zeros(3), np.float32(1), np.array([None, {}], object), 1j),
)


def replies(number: int, value: Any) -> Iterator[bytes]:
    """The value in each place where a reply to the call of this number has a value."""
    yield frame(messages.RESULT, number, value)
    yield frame(messages.RESULT, number, value, value)
    yield frame(messages.PART, number, value) + frame(messages.RESULT, number, [1])
    yield frame(messages.PART, number, [1]) + frame(messages.RESULT, number, value)
    yield frame(messages.WARNING, number, value, value)
    yield frame(messages.WARNING, number, "UserWarning", value)
    yield frame(messages.ERROR, number, *([value] * 5))
    yield frame(messages.ERROR, number, "env", "ValueError", "m", "t", value)
    yield frame(messages.ERROR, number, "env", value, value, value, ["ValueError"])
    yield frame(messages.ERROR, number, "cannot cross", value, value, value, [])
    yield frame(messages.STEPPED, number, value)


@pytest.mark.filterwarnings("ignore")
def test_answers_of_the_wrong_sort(description: dict[str, Any]) -> None:
    frames = conversation(description)
    chosen = random.Random(5)
    for at, value in itertools.product(range(5), VALUES):
        for reply in replies(at + 1, value):
            converse(b"".join(frames[:at]) + reply + b"".join(frames[at + 1 :]))
    for _ in range(600):
        converse(frame(messages.RESULT, 1, spoilt(description, chosen)))


def spoilt(value: Any, chosen: random.Random) -> Any:
    """The value with one part replaced or missing."""
    if chosen.random() < 0.15:
        return chosen.choice(VALUES)
    if isinstance(value, dict) and value:
        key = chosen.choice(list(value))
        rest = {name: part for name, part in value.items() if name != key or chosen.random() < 0.9}
        return {**rest, key: spoilt(value[key], chosen)} if key in rest else rest
    if isinstance(value, (list, tuple)) and value:
        index = chosen.randrange(len(value))
        return type(value)([*value[:index], spoilt(value[index], chosen), *value[index + 1 :]])
    return chosen.choice(VALUES)


class Marker:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_pickles_execute_nothing_in_either_direction(transport: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    pickled = pickle.dumps(Marker(marker))
    for said in (pickled, b"".join(frame_bytes(messages.RESULT, 1, pickled)), frame(messages.RESULT, 1, pickled)):
        assert isinstance(converse(said), (errors.ProtocolError, errors.ServerCrashed))
    with faulty(transport=transport) as env:
        for value in (pickled, pickled.decode("latin-1"), [pickled], {"a": pickled}, np.frombuffer(pickled, np.uint8)):
            returned = env.call("echo", value)
            assert type(returned) is type(value)
        objects = np.array([pickled, None], object)
        assert env.call("echo", objects).tolist() == [pickled, None]
        with pytest.raises(errors.CannotCross):
            env.call("echo", Marker(marker))
        with pytest.raises(errors.CannotCross):
            env.call("echo", np.array([Marker(marker)], object))
        # Raw bytes, which no client sends: the server answers that they are not a frame, and closes.
        env._connection._channel.send([pickled])
        with pytest.raises((errors.ServerCrashed, errors.ProtocolError, errors.ConnectionLost)):
            env.reset()
    assert not marker.exists()


PROGRAM = """\
#!{python} -IS
import os, socket, sys
arguments = sys.argv[1:]
if "--fd" in arguments:
    read = write = int(arguments[arguments.index("--fd") + 1])
elif "--stdio" in arguments:
    read, write = 0, 1
    os.write(write, bytes.fromhex(arguments[arguments.index("--stdio") + 1]))
else:
    sys.exit("I am no Python")
os.read(read, 1)
sys.stderr.write("rubbish follows\\n")
{rubbish}
"""
PROGRAMS = {
    "random bytes": "os.write(write, bytes(range(256)) * 40)",
    "nothing": "os.close(write)",
    "half a frame": f"os.write(write, b'gS\\x{VERSION:02x}\\x41\\x01\\0\\0\\0')",
    "one byte": "os.write(write, b'<')",
    "a pickle": "import pickle; os.write(write, pickle.dumps([1, 2, 3]))",
    "too many bytes": "[os.write(write, bytes(65536)) for _ in range(1000)]",
    "closes, and stays": "os.close(write); os.close(0); import time; time.sleep(600)",
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("rubbish", PROGRAMS)
def test_a_program_that_is_no_server(rubbish: str, transport: str, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(PROGRAM.format(python=sys.executable, rubbish=PROGRAMS[rubbish]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    clock = Clock()
    with pytest.raises((errors.ProtocolError, errors.ServerStartError)) as caught:
        gym_service.make("Any-v0", python=str(program), transport=transport, timeouts={"start": 20})
    assert clock.took_s <= 2.0 + PROMPT_S
    assert "try: " in str(caught.value) or isinstance(caught.value, errors.ProtocolError)
