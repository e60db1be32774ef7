"""Answers that are one small frame: what their reader takes, and what it leaves to the general one.

The frames are forged, since an honest server sends none of the wrong ones.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from support.gone_peer import GonePeer
from support.vector_play import remote

from gym_service import RemoteVectorEnv, errors
from gym_service.client.batch_results import WorkerResult
from gym_service.client.connection import Connection, fields
from gym_service.client.env_shares import EnvShares
from gym_service.client.small_answers import compile_reader
from gym_service.protocol import messages, results
from gym_service.protocol.frames import SCRATCH_BYTES, frame_bytes
from gym_service.protocol.layout import compile_layout
from gym_service.protocol.space_spec import describe
from gym_service.transport import channel

OBSERVATION, ACTION = spaces.Box(-9, 9, (3,), np.float32), spaces.Discrete(4)
CALL_ID = 7
GROUP, LAST, STEPPED = messages.GROUP, messages.LAST_GROUP, messages.STEPPED


def batch(count: int, value: int, *, version_step: int = 0) -> bytes:
    """The results of some envs: this value as reward and observation, no flag, no info."""
    layout = compile_layout(describe(OBSERVATION, "$"), count)
    assert layout is not None
    stamp = struct.pack("<H", layout.version + version_step)
    numbers = np.full(count, value, np.float64).tobytes() + bytes(2 * count)
    return numbers + stamp + np.full((count, 3), value, np.float32).tobytes() + results.NO_INFOS


def frame(kind: int, body: bytes, call_id: int = CALL_ID) -> bytes:
    return b"".join(map(bytes, frame_bytes(kind, call_id, body)))


def group(kind: int, place: int, count: int, value: int, call_id: int = CALL_ID, form: int = STEPPED) -> bytes:
    return frame(kind, struct.pack("<BII", form, place, count) + batch(count, value), call_id)


def with_info(count: int) -> bytes:
    return batch(count, 1)[: -len(results.NO_INFOS)] + b"\x01"


WRONG: dict[str, tuple[bool, bytes]] = {  # whether it answers a call to all envs of the worker, and the frame
    "another call": (False, group(LAST, 0, 2, 1, CALL_ID + 1)),
    "an earlier call": (True, frame(STEPPED, batch(2, 1), CALL_ID - 1)),
    "more follow": (False, group(GROUP, 0, 2, 1)),
    "from another place on": (False, group(LAST, 1, 2, 1)),
    "of fewer envs": (False, group(LAST, 0, 1, 1)),
    "of more envs": (True, frame(STEPPED, batch(3, 1))),
    "of another number, in as many bytes": (False, frame(LAST, struct.pack("<BII", STEPPED, 0, 1) + batch(2, 1))),
    "in another form": (False, group(LAST, 0, 2, 1, form=messages.RESULT)),
    "a group that answers all": (True, group(LAST, 0, 2, 1)),
    "a batch that answers some": (False, frame(STEPPED, batch(2, 1))),
    "another layout": (True, frame(STEPPED, batch(2, 1, version_step=1))),
    "another layout, a group": (False, frame(LAST, struct.pack("<BII", STEPPED, 0, 2) + batch(2, 1, version_step=1))),
    "an info": (True, frame(STEPPED, with_info(2))),
    "a byte too few": (True, frame(STEPPED, batch(2, 1)[:-1])),
    "a byte too many": (True, frame(STEPPED, batch(2, 1) + b"\0")),
    "a part of a frame": (True, frame(STEPPED, batch(2, 1))[:-4]),
    "half a header": (False, group(LAST, 0, 2, 1)[:9]),
    "two frames": (True, 2 * frame(STEPPED, batch(2, 1))),
    "a buffer": (True, b"".join(map(bytes, frame_bytes(STEPPED, CALL_ID, batch(2, 1), [np.zeros(20_000, np.uint8)])))),
}


def read(is_batch: bool, received: bytes) -> Any:
    scratch = memoryview(bytearray(SCRATCH_BYTES))
    reader = compile_reader(compile_layout(describe(OBSERVATION, "$"), 2), 2, is_batch, scratch, WorkerResult)
    scratch[: len(received)] = received
    return reader(len(received), CALL_ID)


@pytest.mark.parametrize("is_batch", [True, False])
def test_a_whole_answer_is_read(is_batch: bool) -> None:
    found = read(is_batch, frame(STEPPED, batch(2, 5)) if is_batch else group(LAST, 0, 2, 5))
    assert (found.observations.tolist(), found.observations.dtype) == ([[5.0] * 3] * 2, np.float32)
    assert found.rewards.tolist() == [5.0, 5.0]
    assert (found.terminations.tolist(), found.truncations.tolist()) == ([False] * 2, [False] * 2)
    assert (found.infos, found.terminations.dtype) == ([], np.bool_)


@pytest.mark.parametrize("what", WRONG)
def test_anything_else_is_left_to_the_general_reader(what: str) -> None:
    assert read(*WRONG[what]) is None


@contextmanager
def two_envs_of_one_server() -> Iterator[tuple[RemoteVectorEnv, socket.socket, int]]:
    """The vector env after a send of both envs, the server's end of its stream, and the id of that call."""
    ours, theirs = socket.socketpair()
    described = {"observation_space": describe(OBSERVATION, "$"), "action_space": describe(ACTION, "$")}
    connection = Connection(channel.over_socket(ours), GonePeer())
    envs = RemoteVectorEnv(
        [connection], [{**described, "metadata": {}, "render_mode": None, "target": {}}], [slice(0, 2)]
    )
    with theirs:
        try:
            envs.send(np.zeros(2, np.int64))
            yield envs, theirs, connection.last_id
        finally:
            connection.close(0.0)


@pytest.mark.parametrize("is_received", [False, True])
def test_no_place_of_a_call_is_answered_twice(is_received: bool) -> None:
    with two_envs_of_one_server() as (envs, theirs, call_id):
        theirs.sendall(group(GROUP, 0, 1, 1, call_id))
        if is_received:
            assert envs.recv()[5].tolist() == [0]
        else:
            with pytest.raises(errors.CallTimeout):
                envs.recv(2, timeout_s=0.0)
        theirs.sendall(group(LAST, 0, 2, 9, call_id))
        with pytest.raises(errors.ProtocolError, match="results of 2 envs came from place 0 on, of 2 from 1 on"):
            envs.recv()


def test_an_answer_in_pieces_is_read() -> None:
    with two_envs_of_one_server() as (envs, theirs, call_id):
        whole = group(LAST, 0, 2, 6, call_id)
        for start in range(0, len(whole), 7):
            with pytest.raises(errors.CallTimeout):
                envs.recv(timeout_s=0.0)
            theirs.sendall(whole[start : start + 7])
        assert envs.recv()[0].tolist() == [[6.0] * 3] * 2


@pytest.mark.parametrize("seed", range(20))
def test_each_env_is_in_the_part_of_its_worker(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, rng.integers(1, 6)).tolist()
    ends = np.cumsum(sizes).tolist()
    shares = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    ids = rng.permutation(ends[-1])[: rng.integers(1, ends[-1] + 1)].tolist()
    if seed % 3 == 0:  # all envs of some workers, one worker after another
        ids = [env_id for at in rng.permutation(len(shares)) for env_id in range(ends[-1])[shares[at]]]
    seen: list[int] = []
    for part in EnvShares(shares).by_worker(ids):
        share = shares[part.worker]
        rows = list(range(len(ids)))[part.rows] if isinstance(part.rows, slice) else part.rows
        assert [ids[row] for row in rows] == part.env_ids
        assert [env_id - share.start for env_id in part.env_ids] == part.indices
        assert part.is_whole == (part.env_ids == list(range(share.start, share.stop)))
        assert rows == sorted(rows)
        seen += part.env_ids
    assert sorted(seen) == sorted(ids)


def test_results_that_cannot_cross_together_do_not_change_each_other() -> None:
    """Each is then an answer of its own, and all of them have the memory of one env's images."""
    keys = {"workers": 1, "kwargs": {"side": 96, "heavy": 3}, "max_message_mib": 1}
    with remote("Paced-v0", 4, "paced", **keys) as envs:
        envs.reset()
        count, together = 0, 0
        while together < 4 and count < 200:  # the server learns that its steps are short
            envs.send(np.zeros(4, np.int64))
            together, count = len(envs.recv()[5]), count + 1
            while envs.in_flight:
                envs.recv()
        assert together > 1  # else nothing is encoded together
        envs.send(np.zeros(1, np.int64), [2])
        envs.recv()
        envs.send(np.array([0, 0, 0, 3]))
        found: dict[int, int] = {}
        refused = 0
        while envs.in_flight:
            try:
                observations, *_, env_ids = envs.recv()
            except errors.CannotCross:
                refused += 1
            else:
                found |= zip(env_ids.tolist(), observations[:, 0, 0, 0].tolist(), strict=True)
        assert (found, refused) == ({0: count + 1, 1: count + 1, 2: count + 2}, 1)


def test_a_server_answers_actions_of_another_layout_with_an_error() -> None:
    with remote("Env-v0", 2, workers=1, entry_point="small_steps:SmallEnv") as envs:
        envs.reset()
        (connection,) = envs._workers._connections
        parts = struct.pack("<III", 2, 0, 1) + b"\x05\x00" + bytes(18)
        connection._channel.send([frame(messages.STEP_SOME_PACKED, parts, connection.next_id)])
        answer = connection._channel.receive()
        answer.arrays = connection.arrays
        assert answer.kind == messages.ERROR
        assert "packed by another layout" in fields(answer, 5)[2]


def test_a_server_has_no_rest_of_a_reset_that_has_not_failed() -> None:
    with remote("Env-v0", 2, workers=1, entry_point="small_steps:SmallEnv") as envs:
        envs.reset()
        (connection,) = envs._workers._connections
        connection._channel.send([frame(messages.RESET_REST, b"", connection.next_id)])
        answer = connection._channel.receive()
        answer.arrays = connection.arrays
        assert answer.kind == messages.ERROR
        assert "no reset of all envs has failed" in fields(answer, 5)[2]
