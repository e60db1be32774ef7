"""A client that sends garbage: the server ends by itself, soon, with little memory, and executes nothing of it.

tests/tools/fuzz.py tries thousands of cases in one process; this uses real servers, old and new.
"""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gym_service_launcher.config import entry as entries
from support import polling, procfs
from support.clock import Clock
from support.faulty import TRANSPORTS
from support.hostile import HOSTILE, array
from support.opened import TARGET
from support.paths import ENVS, TESTS
from support.targets import TARGETS

from gym_service.factory import open_env
from gym_service.protocol import messages
from gym_service.protocol.frames import HEADER, MAGIC, VERSION, frame_bytes

# These tests do not depend on the client's version, so they run with the newest client only.
pytestmark = pytest.mark.slow

# A server that has imported numpy and a simulator takes a moment to shut down.
SOON_S = 1.0
MORE_MEMORY_BYTES = 10 * 2**20
OLD = "py36-gym021"


class Marker:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.system, (f"touch {self.path}",)


def frame(kind: int, call_id: int, head: bytes) -> bytes:
    return b"".join(map(bytes, frame_bytes(kind, call_id, head)))


def header(head_bytes: int = 0, count: int = 0) -> bytes:
    return HEADER.pack(MAGIC, VERSION, messages.STEP, 2, head_bytes, count)


RUBBISH: dict[str, bytes] = {
    "nothing": b"",
    "half a header": header()[:9],
    "another protocol": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "another version": HEADER.pack(MAGIC, VERSION + 1, messages.STEP, 2, 1, 0),
    "a head too long": header(2**32 - 1),
    "a head as long as may be, and no more of it": header(60 * 2**20) + bytes(1000),
    "too many buffers": header(0, 2**32 - 1),
    "a buffer too long": header(0, 1) + (2**63).to_bytes(8, "little"),
    "a buffer too short": header(0, 1) + (1).to_bytes(8, "little") + b"x",
    "a reply": frame(messages.RESULT, 2, b"N"),
    "an unknown call": frame(200, 2, b""),
    "half an action": frame(messages.STEP_PACKED, 2, b"123"),
    "fields left over": frame(messages.RENDER, 2, b"NNN"),
    "fields missing": frame(messages.RESET, 2, b""),
    "lists 100,000 deep": frame(messages.STEP, 2, HOSTILE["lists 100,000 deep"]),
    "a dtype of objects": frame(messages.STEP, 2, HOSTILE["dtype of objects"]),
    "a huge void": frame(messages.STEP, 2, HOSTILE["void"]),
    "a negative dimension": frame(messages.STEP, 2, HOSTILE["negative dimension"]),
    "a huge dimension": frame(messages.STEP, 2, HOSTILE["2**40"]),
    "a size that wraps": frame(messages.STEP, 2, HOSTILE["product that wraps to 4"]),
}


CASES = [
    pytest.param(name, target, transport, marks=[pytest.mark.long] if (place + index) % 8 else [])
    for index, name in enumerate(RUBBISH)
    for place, (target, transport) in enumerate(((TARGET, "unix"), (TARGET, "stdio"), (OLD, "stdio"), (OLD, "unix")))
]


@pytest.mark.parametrize(("rubbish", "target", "transport"), CASES)
def test_a_server_ends_by_itself(rubbish: str, target: str, transport: str) -> None:
    entry_point = "older:OlderEnv" if target == OLD else "faulty:FaultyEnv"
    keys = {"python": str(TARGETS[target].python()), "pythonpath": [str(ENVS)], "entry_point": entry_point}
    connection, description = open_env.connect(entries.entry("Faulty", {**keys, "transport": transport}), {})
    try:
        pid, child = description["target"]["pid"], connection._peer._child  # type: ignore[attr-defined]
        before = most = procfs.peak_memory_bytes(pid)
        connection._channel.send([RUBBISH[rubbish]])
        connection._channel.close()
        clock = Clock()
        while child.exit_code(0.001) is None and clock.took_s < polling.TIMEOUT_S:
            most = max(most, procfs.peak_memory_bytes(pid))
        assert clock.took_s <= SOON_S
        assert most - before <= MORE_MEMORY_BYTES
        # 0: it has answered with an error. 1: the bytes were not a frame, and its traceback says so.
        assert child.exit_code() in (0, 1), child.tail()
        assert child.exit_code() == 0 or re.search("BadFrame|BadValue|WrongVersion", child.tail())
    finally:
        connection.close(0.0)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_pickle_has_no_effect_wherever_a_client_puts_it(transport: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    pickled = pickle.dumps(Marker(marker), 2)
    as_objects = array(b"|O", 1) + pickled
    for said in (pickled, frame(messages.STEP, 2, pickled), frame(messages.STEP, 2, as_objects)):
        keys = {"python": str(TARGETS[TARGET].python()), "pythonpath": [str(ENVS)], "entry_point": "faulty:FaultyEnv"}
        connection, _ = open_env.connect(entries.entry("Faulty", {**keys, "transport": transport}), {})
        try:
            connection._channel.send([said])
            connection._channel.close()
            polling.until(lambda c=connection: c._peer._child.exit_code() is not None, "its end")  # type: ignore[misc]
        finally:
            connection.close(0.0)
    assert not marker.exists()
    pickle.loads(pickled)
    assert marker.exists(), "the pickle itself is harmless, and this test would pass for nothing"


@pytest.mark.parametrize("minutes", [0.05, pytest.param(5.0, marks=pytest.mark.long)])
def test_fuzzed_bytes_at_both_ends(minutes: float) -> None:
    argv = [sys.executable, str(TESTS / "tools/fuzz.py"), "--minutes", str(minutes), "--seed", "7"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
