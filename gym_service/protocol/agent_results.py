"""Results of PettingZoo's two APIs as messages: a parallel step is packed if the layouts fit; all else is general.

Knows agents, layouts and the order of a result's parts. Never knows a socket or an env. Python 3.6 and up; runs on both
sides.

A packed step names its agents by their positions in the list that both sides have since the env was made, so that
agents may leave and come back. It holds only exact fits: the layouts of the observations, rewards that are floats,
flags that are bools. Anything else takes the general path for that message.
"""

import struct

from gym_service.protocol.all_agents import AllAgents, flags_of, read_flags
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder, Packed
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.layout import compile_layout
from gym_service.protocol.values import BadValue

# The parts of each result, in wire order.
PARALLEL_RESET = ("observations", "infos", "agents")
PARALLEL_STEP = ("observations", "rewards", "terminations", "truncations", "infos", "agents")
TURN = (
    "agents",
    "agent_selection",
    "rewards",
    "cumulative_rewards",
    "terminations",
    "truncations",
    "infos",
    "last",
)

_LAST = ("observation", "reward", "terminated", "truncated", "info")

_VERSION = struct.Struct("<HH")  # the version of the layouts, the number of agents
_COUNTS = struct.Struct("<HHHB")  # the same, the number of present agents, whether infos follow
_MOST_AGENTS = 0xFFFF


def encode(names, result, *more):
    """A result's parts in a row, then ``more`` values. Only in infos, values that cannot cross become Opaques."""
    encoder = Encoder()
    for name, value in zip(names, result):
        if name == "last":
            _encode_last(encoder, value)
        else:
            encoder.add(value, "$." + name, opaque=name == "infos")
    for value in more:
        encoder.add(value)
    return encoder


def decode(names, frame, graph, more=0):
    """What ``encode`` encoded, as a list: the parts, then ``more`` values. Raises BadValue for malformed bytes."""
    decoder = ValueDecoder(frame.head, frame.buffers, graph, arrays=frame.arrays)
    values = []
    for name in names:
        values.append(_decode_last(decoder) if name == "last" else decoder.read())
    values += [decoder.read() for _ in range(more)]
    decoder.expect_end()
    return values


def _encode_last(encoder, last):
    """Encode the result of ``last()``: nothing, its five values, or only the observation.

    Only the observation if the other four are the same objects as in the turn's dicts. They are compared by identity,
    so that an info with arrays needs no comparison of arrays.
    """
    encoder.add(0 if last is None else len(last))
    for name, value in zip(_LAST, last or ()):
        encoder.add(value, "$." + name, opaque=name == "info")


def _decode_last(decoder):
    count = decoder.read()
    if type(count) is not int or count not in (0, 1, len(_LAST)):
        raise BadValue("%r values of last()" % (count,))
    return tuple([decoder.read() for _ in range(count)]) or None


class AgentLayouts:
    """The layouts of each agent's observations and actions, compiled on both sides from the same plain data."""

    def __init__(self, spaces, version=0):
        """``spaces``: (agent, observation space, action space) of each agent, in an order that both sides know.

        ``version`` counts how often they have changed: a message with another version is refused.
        """
        self._version = version & 0xFFFF
        self._agents = [agent for agent, _, _ in spaces]
        self._types = [type(agent) for agent in self._agents]
        self._places = {agent: place for place, agent in enumerate(self._agents)}
        self._all_places = list(range(len(self._agents)))
        self._observations = [compile_layout(observation_space) for _, observation_space, _ in spaces]
        self._actions = [compile_layout(action_space) for _, _, action_space in spaces]
        # For messages of all agents in this order; None if one has large values, or values of no fixed size.
        self.all_agents = self._all() if 0 < len(self._agents) <= _MOST_AGENTS else None

    def _all(self):
        count, places = len(self._agents), struct.pack("<%dH" % len(self._agents), *self._all_places)
        action_prefix = _VERSION.pack(self._version, count) + places
        step_prefix = _COUNTS.pack(self._version, count, count, False) + places + places
        found = AllAgents(self._agents, self._actions, self._observations, action_prefix, step_prefix)
        return found if found.fits else None

    def pack_actions(self, actions):
        """Actions by agent as a Packed message; None if they do not fit exactly."""
        places = self._places_of(actions) if type(actions) is dict else None
        if places is None:
            return None
        packed = Packed()
        packed.head += _VERSION.pack(self._version, len(places)) + struct.pack("<%dH" % len(places), *places)
        return packed if self._pack(self._actions, places, actions, packed) else None

    def unpack_actions(self, head, buffers):
        """What ``pack_actions`` packed. Raises BadValue for malformed bytes."""
        version, count = _unpack(_VERSION.format, head, 0)
        self._check_version(version)
        places, at = self._read_places(head, _VERSION.size, count)
        actions, at, rest = self._unpack(self._actions, places, head, at, buffers)
        if at != len(head) or rest:
            raise BadValue("%d bytes and %d buffers are left of the actions" % (len(head) - at, len(rest)))
        return actions

    def pack_step(self, result):
        """A parallel step's result as an Encoder; None if it does not fit exactly."""
        observations, rewards, terminations, truncations, infos, agents = result
        places = self._places_of(observations) if type(observations) is dict else None
        living = self._places_of(agents) if type(agents) is list else None
        if places is None or living is None or not _have_same_keys(observations, rewards, terminations, truncations):
            return None
        flags = flags_of(rewards, terminations, truncations)
        if flags is None:
            return None
        has_infos = not _is_empty(infos, observations)
        encoder = Encoder() if has_infos else Packed()
        encoder.head += _COUNTS.pack(self._version, len(places), len(living), has_infos)
        encoder.head += struct.pack("<%dH" % (len(places) + len(living)), *places, *living)
        encoder.head += struct.pack("<%dd" % len(places), *rewards.values())
        encoder.head += flags
        if not self._pack(self._observations, places, observations, encoder):
            return None
        return encoder.add(infos, "$.infos", opaque=True) if has_infos else encoder

    def unpack_step(self, head, buffers, graph, arrays=None):
        """The result that ``pack_step`` packed, as a list. Raises BadValue for malformed bytes."""
        version, count, living_count, has_infos = _unpack(_COUNTS.format, head, 0)
        self._check_version(version)
        places, at = self._read_places(head, _COUNTS.size, count)
        living, at = self._read_places(head, at, living_count)
        numbers = _unpack("<%dd%dB" % (count, count), head, at)
        agents = [self._agents[place] for place in places]
        rewards, terminations, truncations = read_flags(agents, numbers[:count], numbers[count:])
        at += 9 * count
        observations, at, rest = self._unpack(self._observations, places, head, at, buffers)
        decoder = ValueDecoder(head, rest, graph, at, arrays)
        infos = decoder.read() if has_infos else {agent: {} for agent in agents}
        decoder.expect_end()
        return [observations, rewards, terminations, truncations, infos, [self._agents[place] for place in living]]

    def _check_version(self, version):
        if version != self._version:
            raise BadFrame("packed by version %d of the layouts, and this is version %d" % (version, self._version))

    def _places_of(self, agents):
        """The positions of the agents, or of a dict's keys; None if one is not known by exactly this name."""
        if type(agents) not in (dict, list) or len(agents) > _MOST_AGENTS:
            return None
        keys = list(agents)
        if keys == self._agents and list(map(type, keys)) == self._types:  # the usual case: all of them, in order
            return self._all_places
        known, places = self._agents, []
        for agent in agents:
            try:
                place = self._places.get(agent)
            except TypeError:  # it has no hash
                return None
            if place is None or type(agent) is not type(known[place]):
                return None
            places.append(place)
        return places

    def _read_places(self, head, at, count):
        places = _unpack("<%dH" % count, head, at)
        if places and max(places) >= len(self._agents):
            raise BadValue("an agent at place %d of %d" % (max(places), len(self._agents)))
        return places, at + 2 * count

    @staticmethod
    def _pack(layouts, places, values, packed):
        for place, value in zip(places, values.values()):
            layout = layouts[place]
            if layout is None or not layout.pack(value, packed.head, packed.buffers):
                return False
        return True

    def _unpack(self, layouts, places, head, at, buffers):
        values = {}
        for place in places:
            layout = layouts[place]
            if layout is None:
                raise BadValue("packed values of an agent that has no layout")
            values[self._agents[place]] = layout.unpack(head, at, buffers)
            at += layout.head_bytes
            if layout.buffer_count:
                buffers = buffers[layout.buffer_count :]
        return values, at, buffers


def _have_same_keys(first, *others):
    """Whether all are dicts with the same agents in the same order. A defaultdict crosses as a dict on both paths."""
    keys = list(first)
    for other in others:  # noqa: SIM110 - a generator takes twice as long
        if not isinstance(other, dict) or list(other) != keys:
            return False
    return True


def _is_empty(infos, observations):
    """Whether the infos are an empty dict per agent, in the order of the observations."""
    if type(infos) is not dict or list(infos) != list(observations):
        return False
    return [*map(type, infos.values())] == [dict] * len(infos) and not any(infos.values())


def _unpack(form, head, at):
    try:
        return struct.unpack_from(form, head, at)
    except struct.error as error:
        raise BadValue("not a result of several agents: %s" % error) from error
