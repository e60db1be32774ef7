"""Digests and rows of usual steps, in a fraction of the time that the general way takes.

A usual step has an observation of few bytes in one array, a reward that is a float, two flags, no info, and an action
that is an integer or an array of few bytes. The bytes are always those of the general way: this module asks
``value_digest.py`` and ``trace_file.py`` for one value of each form, and keeps what stands around the value. Knows no
other rule of theirs. Python 3.10 and up.
"""

import hashlib
import itertools
import struct
import zlib
from typing import Any

import numpy as np

from gym_service.protocol.plain_arrays import PLAIN_CODES, ArrayWriter
from gym_service.protocol.value_digest import KEPT_BYTES, MARK_BYTES, RollingDigest, canonical_bytes
from gym_service.traces.trace_file import BEFORE_ACTION, TraceWriter, before_bytes, encoded

MOST_BYTES = 4096  # of an observation
# An env has one form or two. One whose observations change their shape takes the general way after so many.
MOST_FORMS = 64

_FLOATS, _FLAGS = (float, np.float64), (bool, np.bool_)
_float64, _int64, _checksum = struct.Struct("<d").pack, struct.Struct("<q").pack, struct.Struct("<BI").pack
_LENGTHS = [bytes([length]) for length in range(KEPT_BYTES + 1)]
_BEFORE_INT = BEFORE_ACTION + encoded(1)[:-8]

# The canonical bytes before the observation's own and before the reward's; and by flags, what follows in the digest,
# and what follows in the summary. Empty for a result that is not usual.
_Form = tuple[bytes, bytes, dict[tuple[bool, bool], tuple[bytes, bytes]]] | tuple[()]


class UsualSteps:
    """Adds usual steps to a digest and to a file."""

    def __init__(self, digest: RollingDigest, writer: TraceWriter) -> None:
        self._digest, self._writer = digest, writer
        self._forms: dict[Any, _Form] = {}
        self._arrays = ArrayWriter()

    def add(self, action: Any, result: Any) -> bool:
        """Add a step. Returns False for a step that is not usual, and has changed nothing then."""
        if type(result) is not tuple or len(result) != 5:
            return False
        observation, reward, terminated, truncated, info = result
        if type(observation) is not np.ndarray or type(info) is not dict or info:
            return False
        kind = observation.dtype, observation.shape, type(reward), type(terminated), type(truncated)
        form = self._forms.get(kind)
        if form is None:
            form = self._learn_form(kind, result)
        row = self._encoded_action(action) if form else None
        if not form or row is None:
            return False
        before_observation, before_reward, endings = form
        ending, kept_ending = endings[terminated, truncated]
        seen, rewarded = before_observation + observation.tobytes(), before_reward + _float64(reward)
        digest = hashlib.sha256(b"".join((self._digest.value, b"step", seen, rewarded, ending))).digest()
        kept = _LENGTHS[len(seen)] + seen if len(seen) <= KEPT_BYTES else _checksum(0, zlib.crc32(seen))
        summary = b"".join((digest[:MARK_BYTES], kept, _LENGTHS[len(rewarded)], rewarded, kept_ending))
        self._writer.write_encoded(b"".join((row, before_bytes(len(summary)), summary)))
        self._digest.value = digest
        return True

    def _encoded_action(self, action: Any) -> bytes | None:
        """A row up to the action; None if that is not usual."""
        if type(action) is int:
            return _BEFORE_INT + _int64(action) if -(2**63) <= action < 2**63 else None
        written = self._arrays.write(action)
        return None if written is None else BEFORE_ACTION + written

    def _learn_form(self, kind: Any, result: tuple[Any, ...]) -> _Form:
        observation, reward, terminated, truncated, info = result
        if len(self._forms) >= MOST_FORMS:
            return ()
        form: _Form = ()
        has_usual_types = type(reward) in _FLOATS and type(terminated) in _FLAGS and type(truncated) in _FLAGS
        if has_usual_types and observation.dtype.char in PLAIN_CODES and observation.nbytes <= MOST_BYTES:
            endings = {}
            for one, other in itertools.product((False, True), repeat=2):
                parts = [canonical_bytes(value) for value in (type(terminated)(one), type(truncated)(other), info)]
                endings[one, other] = b"".join(parts), b"".join([_LENGTHS[len(part)] + part for part in parts])
            before_observation = _before(canonical_bytes(observation), observation.tobytes())
            form = before_observation, _before(canonical_bytes(reward), _float64(reward)), endings
        self._forms[kind] = form
        return form


def _before(whole: bytes, data: bytes) -> bytes:
    """What stands before this data in the whole."""
    assert whole.endswith(data)
    return whole[: len(whole) - len(data)]
