"""What a fork of this process does to shared memory: the child would go on seeing what its parent sees.

Knows the holders of shared memory, and when Python forks. Never knows a slot or a frame. Python 3.6 and up; runs on
both sides. Python 3.6 itself has no hooks for forks: there, arrays are copied out of shared memory.

1. Before a fork every holder gives up the memory that somebody can see: nobody else writes it again.
2. In the child every holder is closed. The memory that is left is that of arrays which somebody holds. It becomes
   private: the same content at the same addresses. So the arrays of the child and those of its parent have nothing in
   common, as after any fork.
3. The parent gives up what came into use since step 1, and waits for the end of step 2. Otherwise the child could see
   what the parent writes next.

Hooks of other packages run in between, and so may other threads, which may fork as well. CPython prints and drops
whatever a signal handler raises in a hook. So after an interrupt each step is done once more, and the next one follows.
"""

import collections
import itertools
import os
import select
from _thread import get_ident

from gym_service.protocol.interrupts import is_foreign
from gym_service.transport import shared_memory
from gym_service.transport.streams import close_all
from gym_service.transport.weak_registry import WeakRegistry

# How long the parent waits. A child copies some gigabytes in a second. One that is stopped needs longer.
LONGEST_S = 1.0
# New in Python 3.7.
HAS_HOOKS = hasattr(os, "register_at_fork")


class Holder:
    """Holds shared memory. Its methods are called at every fork of this process, for as long as it lives.

    ``fork`` is the same object in all calls for one fork. Each call may be repeated.
    """

    def begin_fork(self, fork):
        """Before the fork: see to it that memory which somebody can see is never written again."""
        raise NotImplementedError

    def end_fork(self, fork):
        """Afterwards, in the parent: nor memory that came into use since ``begin_fork``, and may be free by now."""
        raise NotImplementedError

    def close(self):
        """In the child: hold nothing any more. What somebody can see stays."""
        raise NotImplementedError


class _Fork:
    """A fork that has begun."""

    def __init__(self):
        self.pipe = []  # its ends; the child closes its copies when its memory is private
        self.has_ended = False  # whether all holders that there are by then are told of its end


_holders = WeakRegistry()
_under_way = {}  # type: dict  # the forks that have begun, by thread; one begins within another in a signal handler


def tell_of_forks(holder):
    """Call the holder's methods at every fork from now on, also at those that have begun."""
    _holders.add(holder)
    for forks in list(_under_way.values()):
        for fork in list(forks):
            holder.begin_fork(fork)
            if fork.has_ended:
                holder.end_fork(fork)


def _again_if_interrupted(act):
    try:
        act()
    except BaseException:  # of a signal handler, as a rule; the fork goes on
        act()
        raise


def _tell_all(call):
    def tell():
        for holder in _holders.alive():
            call(holder)

    _again_if_interrupted(tell)


def _begin():
    fork = _Fork()
    _under_way.setdefault(get_ident(), []).append(fork)
    try:
        _tell_all(lambda holder: holder.begin_fork(fork))
    finally:
        if _holders.alive() or shared_memory.is_any_shared():
            _open(fork.pipe)


def _open(pipe):
    try:
        # In C alone: a fork of another thread finds both ends in the list, or none made.
        pipe += itertools.chain.from_iterable(itertools.starmap(os.pipe, [()]))
    except OSError as error:  # there is no free descriptor: the parent does not wait
        if is_foreign(error):
            raise


def _end():
    forks = _under_way.get(get_ident())
    if not forks:
        return
    fork = forks[-1]
    fork.has_ended = True
    try:
        _tell_all(lambda holder: holder.end_fork(fork))
    finally:
        try:
            _wait(fork.pipe)
        finally:
            close_all(fork.pipe)
            forks.remove(fork)
            if not forks:
                _under_way.pop(get_ident(), None)


def _wait(pipe):
    """Wait until the child has closed its end of the pipe, and so has every other child that has a copy of it."""
    if pipe:
        # C code takes the end from the list and closes it, as ``close_all`` does.
        collections.deque(map(os.close, map(pipe.pop, (1,))), maxlen=0)
        poll = select.poll()
        poll.register(pipe[0], select.POLLIN)
        poll.poll(LONGEST_S * 1000)


def _leave():
    """In the child."""
    try:
        _tell_all(lambda holder: holder.close())
    finally:
        try:
            _again_if_interrupted(shared_memory.make_private)
        finally:
            for forks in _under_way.values():
                for fork in forks:
                    close_all(fork.pipe)
            _under_way.clear()


if HAS_HOOKS:
    os.register_at_fork(before=_begin, after_in_parent=_end, after_in_child=_leave)  # novermin
