"""Sends malformed bytes to both ends of the wire, guided by the code that they reach.

    python tests/tools/fuzz.py --minutes 5 [--seed 7] [--side client|server]

Each round mutates a conversation that has reached new code. A client reads it as a server's messages, or a server as a
client's. The client must end in an error that a user may see, the server in valid answers or in BadFrame. Both must end
soon, and neither may grow. The exit code is 0, or 1 with what was found and the file of the bytes that reproduce it.

Knows the frames of a conversation. Python 3.10 and up; from 3.12 on it recognises new code by the lines that run,
before that only by new errors.
"""

import argparse
import contextlib
import datetime
import inspect
import math
import random
import re
import socket
import sys
import tempfile
import time
import traceback
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).absolute().parent.parent))

import gymnasium
import numpy as np
from support import procfs
from support.clock import Clock
from support.gone_peer import GonePeer
from support.mutations import LineCoverage, Mutator

from gym_service import errors
from gym_service.client.connection import Connection, one
from gym_service.client.env import RemoteEnv
from gym_service.client.requests import encode
from gym_service.client.spaces import space_from
from gym_service.protocol import messages
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import BadFrame, FrameDecoder, frame_bytes
from gym_service.server import loop
from gym_service.server.counters import Counters
from gym_service.server.permissions import Permissions
from gym_service.transport import channel
from gym_service.transport.streams import ChannelClosed

SOON_S = 0.5
MORE_MEMORY_BYTES = 10 * 2**20
WARM_UP_ROUNDS = 800  # after this many rounds, numpy, Gymnasium and malloc have allocated their caches
SENT_BYTES = 2**22  # a conversation must fit into the socket, since no other process reads it
# The errors that a user may see if the peer is not a real server.
ALLOWED = (errors.ProtocolError, errors.VersionMismatch, errors.ServerCrashed, errors.CannotCross, errors.EnvError)


class FuzzedEnv(gymnasium.Env[Any, Any]):
    """Spaces with everything that a layout can have: small and large arrays, integers, nesting."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = "rgb_array") -> None:
        spaces = gymnasium.spaces
        self.render_mode = render_mode
        image = spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.observation_space = spaces.Dict(
            {"image": image, "at": spaces.Tuple([spaces.Discrete(5), spaces.Box(-1, 1, (2, 3))])}
        )
        self.action_space = spaces.Dict({"go": spaces.Box(-1, 1, (2,)), "which": spaces.MultiDiscrete([2, 3])})

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observation(), {"of": ["reset", 1.5, None]}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._observation(), float(action["go"][0]), False, False, {"n": {1: (2, b"3")}}

    def render(self) -> Any:
        return np.zeros((64, 64, 3), np.uint8)

    def echo(self, *values: Any) -> Any:
        return values

    def _observation(self) -> dict[str, Any]:
        return {"image": np.zeros((64, 64, 3), np.uint8), "at": (np.int64(3), np.zeros((2, 3), np.float32))}


def calls_of_a_client() -> list[bytes]:
    """The frames of a client that makes every kind of call."""
    recipe = {"id": "Fuzzed-v0", "entry_point": None, "imports": [], "kwargs": {}, "api": None}
    recipe |= {"max_episode_steps": None, "wrappers": []}
    action = {"go": np.zeros(2, np.float32), "which": np.zeros(2, np.int64)}
    packed = b"\0\0" + np.zeros(2, np.float32).tobytes() + np.zeros(2, np.int64).tobytes()
    plain: list[tuple[int, tuple[Any, ...]]] = [
        (messages.MAKE, (recipe,)),
        (messages.RESET, (3, {"a": [1, 2.5, np.arange(3)]})),
        (messages.STEP, (action,)),
        (messages.RENDER, ()),
        (messages.GET, ("render_mode",)),
        (messages.SET, ("goal", np.array([None, {1: 2}], object), True)),
        (messages.HAS, ("goal",)),
        (messages.CALL, ("echo", ([1], {2}, frozenset([3])), {})),
        (messages.CALL, ("echo", (np.zeros(5000, np.uint8), 2**70, 1j, np.float32(1), "\ud800"), {})),
        (messages.CALL, ("echo", ([re.ASCII, re.ASCII | re.DOTALL], uuid.SafeUUID), {})),
        (messages.CALL, ("echo", (uuid.SafeUUID.safe, inspect.ArgInfo(1, 2, 3, 4)), {})),
        (messages.CALL, ("echo", (deque([1], 2), datetime.date(2026, 1, 2), range(3), bytearray(b"a")), {})),
        (messages.CALL_FUNCTION, ("os:getpid", (), {})),
    ]
    encoded = [(kind, encode(*(("$", value) for value in values))) for kind, values in plain]
    sent = [_frame(kind, index, encoder) for index, (kind, encoder) in enumerate(encoded, 1)]
    sent.append(b"".join(map(bytes, frame_bytes(messages.STEP_PACKED, len(sent) + 1, packed))))
    sent.append(b"".join(map(bytes, frame_bytes(messages.CLOSE, len(sent) + 1, b""))))
    return sent


def _frame(kind: int, call_id: int, encoder: Encoder) -> bytes:
    return b"".join(map(bytes, frame_bytes(kind, call_id, encoder.head, encoder.buffers)))


@contextlib.contextmanager
def hearing(said: bytes) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(ours, theirs): ours receives everything in ``said``, and then the end."""
    ours, theirs = socket.socketpair()
    with theirs:
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES)
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        yield ours, theirs


def client(said: bytes) -> str:
    """The outcome of a client that receives these bytes from its server: the first line of its error."""
    ValueDecoder.space_from = staticmethod(space_from)  # the server, in the same process, has set another function
    with hearing(said) as (ours, _):
        connection = Connection(channel.over_socket(ours), GonePeer())
        try:
            env = RemoteEnv(connection, connection.call(messages.MAKE, Encoder(), 5.0, one))
            env.reset()
            env.step({"go": np.zeros(2, np.float32), "which": np.zeros(2, np.int64)})
            env.render()
            env.get_wrapper_attr("goal")
            env.call("echo")
        except ALLOWED as error:
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        finally:
            connection.close(0.0)
    return "all is well"


def server(said: bytes) -> str:
    """The outcome of a server that receives these bytes from its client: the number of its answers, all valid."""
    with hearing(said) as (ours, theirs):
        serving = channel.over_socket(ours)
        # Like a server that the client did not start: no bytes may make it do what such a server refuses.
        answering = loop.Server(serving, Permissions(names=False, pickles=False), Counters())
        ending = ""
        try:
            while answering.state != messages.CLOSED:
                answering.answer(serving.receive())
        except (ChannelClosed, BadFrame) as error:
            ending = f"{type(error).__name__}: {error}"
        finally:
            answering.close()
            serving.close()
        kinds = [frame.kind for frame in frames_of(theirs)]
    return f"{kinds[-1:]} {ending}"


def frames_of(sock: socket.socket) -> list[Any]:
    """All frames in a socket, to its end. Raises if the bytes are not frames."""
    decoder, found = FrameDecoder(), []
    while size := sock.recv_into(decoder.next_buffer()):
        frame = decoder.received(size)
        while frame is not None:
            if frame.kind != messages.STEPPED:
                values = ValueDecoder(frame.head, frame.buffers)
                while values._at < len(frame.head):
                    values.read()
                values.expect_end()
            found.append(frame)
            frame = decoder.received(0)
    if not decoder.at_boundary:
        raise AssertionError("the server has sent half a frame")
    return found


def answers_of_a_server() -> list[bytes]:
    """The answers of a real server to ``calls_of_a_client``, as far as ``client`` asks for them."""
    calls = calls_of_a_client()
    said = b"".join([*calls[:2], calls[10], calls[3], calls[4], calls[7]])
    with hearing(said) as (ours, theirs):
        serving = channel.over_socket(ours)
        answering = loop.Server(serving, Permissions(names=False, pickles=False), Counters())
        with contextlib.suppress(ChannelClosed):
            while True:
                answering.answer(serving.receive())
        serving.close()
        answers = []
        for number, frame in enumerate(frames_of(theirs), 1):
            answers.append(b"".join(map(bytes, frame_bytes(frame.kind, number, bytes(frame.head), frame.buffers))))
    return answers


SIDES: dict[str, tuple[Callable[[bytes], str], Callable[[], list[bytes]]]] = {
    "client": (client, answers_of_a_server),
    "server": (server, calls_of_a_client),
}


class Fuzz:
    """Mutates conversations that have reached new code, until its limit."""

    def __init__(self, side: str, seed: int) -> None:
        self._judge, frames = SIDES[side]
        self._mutator = Mutator(random.Random(seed), frames(), SENT_BYTES // 4)
        self._endings: set[str] = set()
        self.rounds = 0
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self._lines = LineCoverage()

    @property
    def reached(self) -> str:
        return (
            f"{self._lines.count} lines, {len(self._endings)} endings, {len(self._mutator.corpus)} conversations kept"
        )

    def run(self, seconds: float = math.inf, rounds: float = math.inf) -> None:
        """Run until the time is over, or for ``rounds`` rounds."""
        until, last = time.monotonic() + seconds, self.rounds + rounds
        with self._lines:
            while time.monotonic() < until and self.rounds < last and len(self.wrong) < 5:
                self._try(self._mutator.conversation())
                self.rounds += 1

    def _try(self, said: bytes) -> None:
        clock, before = Clock(), self._lines.count
        try:
            ending = re.sub(r"\d+", "#", self._judge(said))[:80]
        except Exception as error:  # noqa: BLE001 - whatever else comes out is what this looks for
            self._find(_shown(error), said)
            return
        took_s = clock.took_s
        if took_s > SOON_S:  # the machine may have been busy: a conversation that is really slow is slow again
            again = Clock()
            self._judge(said)
            took_s = again.took_s
        self.slowest_s = max(self.slowest_s, took_s)
        if took_s > SOON_S:
            self._find(f"it took {took_s:.2f} s", said)
        if self._lines.count > before or ending not in self._endings:
            self._endings.add(ending)
            self._mutator.corpus.append(said)

    def _find(self, what: str, said: bytes) -> None:
        with tempfile.NamedTemporaryFile(prefix="fuzz-", suffix=".bin", delete=False) as file:
            file.write(said)
        self.wrong.append(f"{what}\n  for the {len(said)} bytes in {file.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Bytes that no honest side sends, at both ends of the wire.")
    parser.add_argument("--minutes", type=float, default=5.0, help="for each side")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(0, 10**6))
    parser.add_argument("--side", choices=SIDES)
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    gymnasium.register("Fuzzed-v0", FuzzedEnv)
    return max([play(side, chosen.minutes, chosen.seed) for side in ([chosen.side] if chosen.side else SIDES)])


def play(side: str, minutes: float, seed: int) -> int:
    fuzz = Fuzz(side, seed)
    fuzz.run(rounds=WARM_UP_ROUNDS)
    before = procfs.held_memory_bytes()
    fuzz.run(minutes * 60)
    grown_bytes = procfs.held_memory_bytes() - before
    if grown_bytes > MORE_MEMORY_BYTES:
        fuzz.wrong.append(f"it has grown by {grown_bytes / 2**20:.1f} MiB")
    print(f"{side}: seed {seed}, {fuzz.rounds} conversations, {fuzz.reached}", end="; ")
    print(f"the slowest {fuzz.slowest_s:.3f} s, memory {grown_bytes / 2**20:+.1f} MiB", flush=True)
    for wrong in fuzz.wrong:
        print(f"WRONG  {wrong}")
    return int(bool(fuzz.wrong))


def _shown(error: Exception) -> str:
    """The traceback, also if Python cannot print the error itself."""
    return "".join([*traceback.format_tb(error.__traceback__), f"{type(error).__name__}: {error!r}"])


if __name__ == "__main__":
    sys.exit(main())
