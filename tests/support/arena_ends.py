"""Two ends of shared memory, and frames that pass between them.

Knows arenas. Python 3.10 and up.
"""

import itertools
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from gym_service.protocol.frames import Frame, Missing
from gym_service.transport import arena
from gym_service.transport.arena import LEAST_BYTES, Arena
from gym_service.transport.slots import ANNOUNCED

SIZE = LEAST_BYTES


Ends = tuple[Arena, Arena]


def two_ends() -> Ends:
    ours, theirs = (arena.over_socket(sock) for sock in socket.socketpair())
    assert ours is not None
    assert theirs is not None
    return ours, theirs


def frame(number: int, size: int = SIZE) -> np.ndarray:
    return np.full(size, number % 251, np.uint8)


CALLS = itertools.count(1)


def pass_frame(sender: Arena, receiver: Arena, values: Sequence[np.ndarray] = (), call_id: int = 0) -> list[Any]:
    """Pass one frame between two arenas, by default in a new call. Returns the frame's buffers as they arrive."""
    call_id = call_id or next(CALLS)
    descriptors, notes = sender.compose(list(values), (), call_id)
    notes.settle()
    return receive(receiver, descriptors, call_id)


def receive(receiver: Arena, descriptors: Sequence[Any], call_id: int = 1) -> list[Any]:
    """The buffers of a frame with these descriptors; everything that is not a descriptor travels inline."""
    buffers, notices = receiver.split([each for each in descriptors if type(each) is int])
    arrived = Frame(0, call_id, b"", [receiver.lease(descriptor) for descriptor in buffers])
    receiver.receive(arrived, Missing(buffers, notices, 0))
    leased = iter(arrived.buffers)
    are_buffers = [each for each in descriptors if type(each) is not int or not each & ANNOUNCED]
    return [next(leased) if type(each) is int else np.array(each) for each in are_buffers]


def send(lender: Arena, borrower: Arena, value: np.ndarray) -> np.ndarray:
    """An array as it arrives: over a lease, or inline if there is no slot for it yet."""
    return np.ndarray(value.shape, value.dtype, pass_frame(lender, borrower, [value])[0])


def out(lender: Arena) -> int:
    return sum(slot.is_out for slot in lender._slots.values())


def hand_back(lender: Arena, borrower: Arena) -> int:
    """Send the borrower's returns to the lender. Returns the number of slots."""
    before = out(lender)
    pass_frame(borrower, lender)
    return before - out(lender)


def is_leased(value: np.ndarray) -> bool:
    while isinstance(value.base, np.ndarray):
        value = value.base
    lease = value.base.obj if isinstance(value.base, memoryview) else value.base
    return type(lease).__name__ == "Lease"


def send_leased(lender: Arena, borrower: Arena, value: np.ndarray) -> np.ndarray:
    """The array as it arrives over a lease. The first time this sends it twice, since the slot has to be made first."""
    received = send(lender, borrower, value)
    return received if is_leased(received) else send(lender, borrower, value)
