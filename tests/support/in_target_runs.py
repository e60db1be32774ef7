"""Runs ``in_target.py`` in the interpreters of the tests. Python 3.10."""

import subprocess
from typing import Any

from gym_service.protocol.frames import FrameDecoder, frame_bytes
from support.crossing import encoded, feed, values_of
from support.paths import TESTS
from support.targets import TARGETS

SCRIPT = TESTS / "support/in_target.py"
FLOOR_AND_CEILING = ["py36-gym021", "py313-gymnasium14"]


def run(target: str, *arguments: str, sent: Any = None) -> Any:
    """The value that the script writes in the target's interpreter."""
    frame = feed(FrameDecoder(), answer(target, *arguments, sent=sent))
    assert frame is not None
    return values_of(frame.head, frame.buffers, 1)[0]


def answer(target: str, *arguments: str, sent: Any = None) -> bytes:
    """The bytes that the script writes."""
    encoder = encoded(sent)
    data = b"".join(bytes(piece) for piece in frame_bytes(1, 1, encoder.head, encoder.buffers))
    command = [str(TARGETS[target].python()), str(SCRIPT), *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
