"""Returns, lengths and rewards of the episodes that a viewer sees.

Knows the forms of an adapter's results. Never keeps an observation, and keeps other values until the end of the call
only. Python 3.6 and up.
"""

from collections import deque

import numpy as np

from gym_service.protocol.array_likes import is_array_like, to_numpy
from gym_service.server.adapters.pettingzoo import MultiAgentAdapter

MAX_FINISHED = 500
# The kinds of dtypes that rewards and pictures have.
NUMBERS = "buif"
NO_NUMBERS = "its rewards are not numbers, one for each env"


def tally_of(adapter, count):
    """The tally for an adapter of ``count`` envs."""
    is_single = (
        adapter.count is None and not hasattr(adapter, "num_envs") and not isinstance(adapter, MultiAgentAdapter)
    )
    return SingleTally() if is_single else ManyTally(adapter, count)


class SingleTally:
    """Of one env. It takes a microsecond for a step."""

    def __init__(self):
        self.finished = deque(maxlen=MAX_FINISHED)
        self.rewards = self.infos = None  # of the last step, until the end of its call
        self.problem = ""
        self._return, self._length = 0.0, 0
        self._is_whole = False  # whether the viewer has seen the episode from its first step on

    def numbers(self, size):
        """For the view, as lists with one item."""
        rewards = None if self.rewards is None else [self.rewards]
        lists = {"returns": [self._return], "lengths": [self._length], "are_whole": [self._is_whole]}
        return dict(lists, rewards=rewards)

    def step(self, result, args):
        if type(result) is not tuple or len(result) != 5:
            return
        _, reward, terminated, truncated, self.infos = result
        self._length += 1
        value = reward if type(reward) is float else _number(reward)
        self.problem = "" if value is not None else NO_NUMBERS
        if value is not None:
            self.rewards = value
            self._return += value
        if _is_true(terminated) or _is_true(truncated):
            if self._is_whole and value is not None:
                self.finished.append((self._return, self._length, 0))
            self._begin()

    def reset(self, result, args):
        self._begin()
        self.infos = result[1] if type(result) is tuple and len(result) == 2 else None

    def _begin(self):
        self._return, self._length, self._is_whole = 0.0, 0, True


class ManyTally:
    """Of a batch, a simulator that is a vector env, or several agents, which count as one env."""

    def __init__(self, adapter, count):
        self._adapter, self._count = adapter, count
        self.finished = deque(maxlen=MAX_FINISHED)
        self.rewards = self.infos = None  # of the last step, until the end of its call
        self.problem = ""
        self._returns = np.zeros(count)
        self._lengths = np.zeros(count, np.int64)
        # Whether the viewer has seen the episode from its first step on.
        self._is_whole = np.zeros(count, np.bool_)
        self._is_over = np.zeros(count, np.bool_)
        self._resets_in_next_step = _resets_in_next_step(adapter)

    def numbers(self, size):
        """For the view, of the first ``size`` envs."""
        arrays = {"returns": self._returns, "lengths": self._lengths, "are_whole": self._is_whole}
        lists = {name: array[:size].tolist() for name, array in arrays.items()}
        return dict(lists, rewards=None if self.rewards is None else self.rewards[:size].tolist())

    def step(self, result, args):
        rewards, ended, infos, at = self._parts(result, args)
        self.infos = infos if infos is not None else self.infos
        self._lengths[at] += np.logical_not(self._is_over[at])
        self._is_over[at] = np.logical_and(ended, self._resets_in_next_step)
        if rewards is None:
            self.problem = NO_NUMBERS
        else:
            self.problem = ""
            self.rewards = rewards
            self._returns[at] += rewards
        for index in np.arange(self._count)[at][ended]:
            if self._is_whole[index] and rewards is not None:
                self.finished.append((float(self._returns[index]), int(self._lengths[index]), int(index)))
            self._begin(index)

    def reset(self, result, args):
        if self._adapter.count is None:
            self._is_over[:] = False
            self._begin(slice(None))
            self.infos = result[1] if type(result) is tuple and len(result) == 2 else None
        else:  # reset_some(triples, infos) of a batch
            for triple in args[0]:
                self._is_over[triple[0]] = False
                self._begin(triple[0])

    def info(self, result, args):
        index, info = args
        if index == 0:
            self.infos = info

    def _begin(self, at):
        self._returns[at] = 0.0
        self._lengths[at] = 0
        self._is_whole[at] = True

    def _parts(self, result, args):
        """(rewards or None, which envs' episodes are over, info or None, the envs that have stepped)."""
        everything = slice(None)
        if self._adapter.count is not None:
            rewards, ended = self._adapter.rewards_and_ends()
            if result is None:  # step_some(pairs, infos)
                at = [pair[0] for pair in args[0]]
                return rewards[at], ended[at], None, at
            return np.array(rewards), np.array(ended), None, everything
        if isinstance(self._adapter, MultiAgentAdapter):
            is_turn = not isinstance(result[0], dict)
            rewards, agents = result[2 if is_turn else 1], result[0 if is_turn else 5]
            total = sum(map(float, rewards.values())) if _are_numbers(rewards.values()) else None
            infos = result[6] if is_turn and len(result) > 6 else None if is_turn else result[4]
            return (None if total is None else np.array([total])), np.array([not agents]), infos, everything
        if type(result) is not tuple or len(result) != 5:
            return None, np.zeros(self._count, np.bool_), None, everything
        _, reward, terminated, truncated, info = result
        ended = _of_each(terminated, self._count), _of_each(truncated, self._count)
        known = [flags.astype(np.bool_) for flags in ended if flags is not None]
        over = np.any(known, axis=0) if known else np.zeros(self._count, np.bool_)
        return _of_each(reward, self._count), over, info, everything


def _number(value):
    """A number as a float; None for everything else."""
    kind = type(value)
    if kind in (int, bool) or issubclass(kind, np.number):
        return float(value)
    array = as_array(value)
    return float(array.reshape(())) if array is not None and array.size == 1 and array.dtype.kind in NUMBERS else None


def _is_true(flag):
    if type(flag) in (bool, np.bool_):
        return bool(flag)
    array = as_array(flag)
    return array is not None and array.size == 1 and bool(array.reshape(()))


def _resets_in_next_step(adapter):
    """Whether the step after an end is a reset: of a batch as it says, of a simulator's own as its metadata say."""
    if adapter.count is not None:
        return adapter.resets_in_next_step
    mode = adapter.metadata().get("autoreset_mode") if hasattr(adapter, "num_envs") else None
    return getattr(mode, "value", mode) == "NextStep"


def _are_numbers(values):
    return all(isinstance(value, (int, float, np.number)) for value in values)


def as_array(value):
    """An array of a number, an array or a framework's array; None for everything else."""
    if isinstance(value, (bool, int, float, np.generic, np.ndarray)):
        return np.asarray(value)
    if isinstance(value, (list, tuple)) and value and _are_numbers(value):
        return np.asarray(value)
    return to_numpy(value)[0] if is_array_like(type(value)) else None


def _of_each(value, count):
    """One number for each env, as an array; None if the value is something else."""
    array = as_array(value)
    if array is None or array.size != count or array.dtype.kind not in NUMBERS:
        return None
    return array.reshape(count).astype(np.float64)
