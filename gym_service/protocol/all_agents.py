"""Packed actions and steps that name all agents in their order and hold no infos, as most do.

Knows layouts, and where each value of such a message lies. Never knows the other messages: ``agent_results.py`` reads
and writes the same bytes for any agents. Python 3.6 and up; runs on both sides.

Each function here returns None for a message of another kind, and has changed nothing then.
"""

import struct

import numpy as np

from gym_service.protocol.frames import HEADER_BYTES, SCRATCH_BYTES
from gym_service.protocol.results import STEPPED_BEGINNING
from gym_service.protocol.values import BadValue

_REWARD_TYPES = {float: 0, np.float64: 4, int: 8}
_TERMINATED, _TRUNCATED = 1, 2
_EXACT_INT = 2**53

# observations, rewards, terminations, truncations, infos, agents
_STEP_TYPES = [dict] * 5 + [list]


class AllAgents:
    """Packs and reads the messages of all agents. Use it only if ``fits``.

    ``agents`` are their names. ``actions`` and ``observations`` are their layouts. The two prefixes are the first bytes
    of such messages.
    """

    def __init__(self, agents, actions, observations, action_prefix, step_prefix):
        count = len(agents)
        self._agents, self._types = list(agents), [type(agent) for agent in agents]
        self._actions, self._observations = actions, observations
        self._action_prefix, self._step_prefix = action_prefix, step_prefix
        # After the header: the prefix, the rewards, the flags. The observations follow.
        beside = "%ds%dd%ds" % (len(step_prefix), count, count)
        self._frame, self._beside = struct.Struct("<IIII" + beside), struct.Struct("<" + beside)
        self._no_flags = bytes(count)
        self._keys, self._key_types = self._agents * 6, self._types * 6
        self._value_types = [float] * count + [bool] * (2 * count) + [dict] * count
        layouts = [*actions, *observations]
        self.fits = all(layout is not None and not layout.buffer_count for layout in layouts)
        if self.fits:
            self._actions_bytes = len(action_prefix) + sum([layout.head_bytes for layout in actions])
            self._step_bytes = self._beside.size + sum([layout.head_bytes for layout in observations])
            self.fits = HEADER_BYTES + max(self._actions_bytes, self._step_bytes) <= SCRATCH_BYTES

    def pack_actions(self, actions):
        """The actions by agent as the head of a call."""
        keys = [*actions] if type(actions) is dict else None
        if keys != self._agents or [*map(type, keys)] != self._types:
            return None
        head = bytearray(self._action_prefix)
        for layout, action in zip(self._actions, actions.values()):
            if not layout.pack(action, head, ()):
                return None
        return head

    def action_reader(self, memory, start):
        """A function that reads what ``pack_actions`` packed, from ``start`` on. It takes the number of bytes."""
        prefix, expected_bytes = self._action_prefix, self._actions_bytes
        found = struct.Struct("%ds" % len(prefix)).unpack_from
        readers = _readers(self._agents, self._actions, memory, start + len(prefix))

        def read(size_bytes):
            if size_bytes != expected_bytes or found(memory, start)[0] != prefix:
                return None
            return {agent: read_action() for agent, read_action in readers}

        return read

    def pack_step(self, call_id, result):
        """A parallel step's result as a whole frame."""
        if [*map(type, result)] != _STEP_TYPES:
            return None
        observations, rewards, terminations, truncations, infos, living = result
        # Equal lists mean that each dict has all agents: no dict can name one of them twice.
        keys = [*observations, *rewards, *terminations, *truncations, *infos, *living]
        if keys != self._keys or len(living) != len(self._agents) or [*map(type, keys)] != self._key_types:
            return None
        numbers, rest = [*rewards.values()], [*terminations.values(), *truncations.values(), *infos.values()]
        flags = self._no_flags
        if [*map(type, numbers + rest)] != self._value_types or any(rest):
            flags = flags_of(rewards, terminations, truncations)
            if flags is None or {*map(type, infos.values())} != {dict} or any(infos.values()):
                return None
        beside = self._frame.pack(STEPPED_BEGINNING, call_id, self._step_bytes, 0, self._step_prefix, *numbers, flags)
        frame = bytearray(beside)
        for layout, observation in zip(self._observations, observations.values()):
            if not layout.pack(observation, frame, ()):
                return None
        return bytes(frame)

    def step_reader(self, memory, start):
        """A function that reads what ``pack_step`` packed; see ``action_reader``. Raises BadValue."""
        agents, prefix, expected_bytes, no_flags = self._agents, self._step_prefix, self._step_bytes, self._no_flags
        beside = self._beside.unpack_from
        readers = _readers(agents, self._observations, memory, start + self._beside.size)

        def read(size_bytes):
            if size_bytes != expected_bytes:
                return None
            found, *numbers, flags = beside(memory, start)
            if found != prefix:
                return None
            if flags == no_flags:
                rewards = dict(zip(agents, numbers))
                terminations, truncations = dict.fromkeys(agents, False), dict.fromkeys(agents, False)
            else:
                rewards, terminations, truncations = read_flags(agents, numbers, flags)
            observations = {agent: read_observation() for agent, read_observation in readers}
            return [observations, rewards, terminations, truncations, {agent: {} for agent in agents}, [*agents]]

        return read


def _readers(agents, layouts, memory, start):
    """(agent, function that reads its value from this memory) for each agent; the values lie one behind the other."""
    readers = []
    for agent, layout in zip(agents, layouts):
        readers.append((agent, layout.reader(memory, start)))
        start += layout.head_bytes
    return readers


def flags_of(rewards, terminations, truncations):
    """One byte per agent; None if a reward or a flag has a type that does not fit."""
    flags = bytearray()
    for reward, terminated, truncated in zip(rewards.values(), terminations.values(), truncations.values()):
        kind = _REWARD_TYPES.get(type(reward))
        if kind is None or type(terminated) is not bool or type(truncated) is not bool:
            return None
        if kind == 8 and not -_EXACT_INT <= reward <= _EXACT_INT:
            return None
        flags.append(kind | (_TERMINATED if terminated else 0) | (_TRUNCATED if truncated else 0))
    return bytes(flags)


def read_flags(agents, numbers, flags):
    """(rewards, terminations, truncations), each by agent. Raises BadValue."""
    rewards, terminations, truncations = {}, {}, {}
    for agent, reward, flag in zip(agents, numbers, flags):
        if flag & 8:
            reward = _int(reward)
        rewards[agent] = np.float64(reward) if flag & 4 else reward
        terminations[agent] = flag & _TERMINATED != 0
        truncations[agent] = flag & _TRUNCATED != 0
    return rewards, terminations, truncations


def _int(number):
    if number != number or not -_EXACT_INT <= number <= _EXACT_INT:
        raise BadValue("%r is no integer" % number)
    return int(number)
