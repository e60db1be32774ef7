"""Messages of all agents: the same bytes and values as the general form of ``agent_results.py``, or None."""

from collections import OrderedDict, defaultdict

import numpy as np
import pytest

from gym_service.protocol.agent_results import AgentLayouts
from gym_service.protocol.frames import HEADER_BYTES
from gym_service.protocol.values import BadValue

AGENTS = ["first", "second", 3]
BOX = {"kind": "Box", "dtype": "<f4", "shape": (5,)}
DISCRETE = {"kind": "Discrete", "dtype": "<i8"}
LAYOUTS = AgentLayouts([(agent, BOX, DISCRETE) for agent in AGENTS], 7)
ALL = LAYOUTS.all_agents


def step(**replaced):
    """A usual result of a parallel step, with some of its parts replaced."""
    parts = {
        "observations": {agent: np.arange(5, dtype="<f4") + place for place, agent in enumerate(AGENTS)},
        "rewards": {agent: 0.5 + place for place, agent in enumerate(AGENTS)},
        "terminations": dict.fromkeys(AGENTS, False),
        "truncations": dict.fromkeys(AGENTS, False),
        "infos": {agent: {} for agent in AGENTS},
        "agents": list(AGENTS),
    }
    parts.update(replaced)
    return tuple(parts.values())


def plain(value):
    """The value as something that equals only the same values of the same types."""
    if isinstance(value, dict):
        return type(value), [(type(key), key, plain(part)) for key, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value), repr(value)


USUAL = {
    "usual": step(),
    "ints": step(rewards={"first": 1, "second": -(2**53), 3: 0}),
    "numpy": step(rewards={"first": np.float64(1.5), "second": 2.0, 3: 7}),
    "not a number": step(rewards={"first": float("nan"), "second": float("-inf"), 3: -0.0}),
    "over": step(terminations={"first": True, "second": False, 3: True}, truncations=dict.fromkeys(AGENTS, True)),
}


@pytest.mark.parametrize("name", USUAL)
def test_a_step_has_the_bytes_of_the_general_form_and_comes_back(name):
    result = USUAL[name]
    frame = ALL.pack_step(9, result)
    assert frame[HEADER_BYTES:] == bytes(LAYOUTS.pack_step(result).head)
    memory = memoryview(bytearray(65536))
    memory[: len(frame)] = frame
    found = ALL.step_reader(memory, HEADER_BYTES)(len(frame) - HEADER_BYTES)
    assert plain(found) == plain(result)
    assert plain(LAYOUTS.unpack_step(frame[HEADER_BYTES:], (), None)) == plain(result)
    memory[:] = bytes(65536)
    assert plain(found) == plain(result), "a result must not lie in the memory that the next read fills"


UNUSUAL = {
    "an info": step(infos={"first": {}, "second": {"seen": 1}, 3: {}}),
    "an info that is no dict": step(infos={"first": {}, "second": None, 3: {}}),
    "an empty list as an info": step(infos={"first": {}, "second": [], 3: {}}),
    "an ordered info": step(infos={"first": {}, "second": OrderedDict(), 3: {}}),
    "no infos": step(infos={}),
    "an agent has left": step(agents=["first", "second"]),
    "an agent twice": step(agents=["first", "second", 3, "first"]),
    "keys that the next dict lacks": step(
        truncations=dict.fromkeys(["first", "second"], False), infos={3: {}, "first": {}, "second": {}}
    ),
    "one dict shorter and agents longer": step(infos={"first": {}, "second": {}}, agents=[3, "first", "second", 3]),
    "another order": step(rewards={"second": 1.0, "first": 1.0, 3: 1.0}),
    "agents in a tuple": step(agents=tuple(AGENTS)),
    "a defaultdict": step(rewards=defaultdict(float, dict.fromkeys(AGENTS, 1.0))),
    "a name of another type": step(rewards={np.str_("first"): 1.0, "second": 1.0, 3: 1.0}),
    "a name that is a float": step(agents=["first", "second", 3.0]),
    "a flag of numpy": step(terminations={"first": np.False_, "second": False, 3: False}),
    "a flag that is 0": step(truncations={"first": 0, "second": False, 3: False}),
    "a reward of another type": step(rewards={"first": np.float32(1), "second": 1.0, 3: 1.0}),
    "a reward that is a bool": step(rewards={"first": True, "second": 1.0, 3: 1.0}),
    "an int that no float holds": step(rewards={"first": 2**53 + 1, "second": 1.0, 3: 1.0}),
    "an observation of another dtype": step(observations=dict.fromkeys(AGENTS, np.zeros(5))),
    "observations in a list": step(observations=list(AGENTS)),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_any_other_step_is_left_to_the_general_form(name):
    assert ALL.pack_step(9, UNUSUAL[name]) is None


def test_observations_that_are_no_dict_do_not_end_the_general_form():
    assert LAYOUTS.pack_step(UNUSUAL["observations in a list"]) is None
    assert LAYOUTS.pack_actions(list(AGENTS)) is None


@pytest.mark.parametrize("action", [1, np.int64(4), -(2**63)])
def test_actions_have_the_bytes_of_the_general_form_and_come_back(action):
    actions = {"first": 0, "second": action, 3: 2}
    head = ALL.pack_actions(actions)
    assert bytes(head) == bytes(LAYOUTS.pack_actions(actions).head)
    assert plain(ALL.action_reader(bytes(16) + head, 16)(len(head))) == plain(actions)
    assert plain(LAYOUTS.unpack_actions(bytes(head), ())) == plain(actions)


@pytest.mark.parametrize(
    "actions",
    [
        list(AGENTS),
        None,
        {"first": 0, "second": 1},
        {"second": 0, "first": 1, 3: 2},
        {"first": 0, "second": 1, 3.0: 2},
        {"first": 0, "second": True, 3: 2},
        {"first": 0, "second": 2**63, 3: 2},
        {"first": 0, "second": 1, 3: 2, "fourth": 2},
        OrderedDict([("first", 0), ("second", 1), (3, 2)]),
    ],
    ids=repr,
)
def test_other_actions_are_left_to_the_general_form(actions):
    assert ALL.pack_actions(actions) is None


def test_bytes_of_another_size_version_or_order_are_left_to_the_general_form():
    frame = ALL.pack_step(9, step())
    memory = memoryview(bytearray(65536))
    memory[: len(frame)] = frame
    read, size_bytes = ALL.step_reader(memory, HEADER_BYTES), len(frame) - HEADER_BYTES
    for other in [0, 1, size_bytes - 1, size_bytes + 1, 65536 - HEADER_BYTES]:
        assert read(other) is None
    for at in range(2 + 2 + 2 + 1 + 6 * 2):  # version, counts, places
        memory[HEADER_BYTES + at] ^= 1
        assert read(size_bytes) is None
        memory[HEADER_BYTES + at] ^= 1
    assert read(size_bytes) is not None
    head = bytearray(ALL.pack_actions(dict.fromkeys(AGENTS, 1)))
    read = ALL.action_reader(head, 0)
    assert read(len(head) - 1) is None
    head[0] ^= 1
    assert read(len(head)) is None


def test_a_reward_that_is_said_to_be_an_int_and_is_none_is_refused():
    frame = bytearray(ALL.pack_step(9, USUAL["ints"]))
    at = HEADER_BYTES + 2 + 2 + 2 + 1 + 6 * 2
    frame[at : at + 8] = np.float64("nan").tobytes()
    with pytest.raises(BadValue, match="no integer"):
        ALL.step_reader(memoryview(frame), HEADER_BYTES)(len(frame) - HEADER_BYTES)


@pytest.mark.parametrize(
    "space", [{"kind": "Text"}, dict(BOX, shape=(100, 100, 3)), dict(BOX, shape=(4000,))], ids=["text", "large", "many"]
)
def test_large_values_and_those_of_no_fixed_size_have_none(space):
    count = 1 if space["kind"] == "Text" else 5
    assert AgentLayouts([(agent, space, DISCRETE) for agent in range(count)]).all_agents is None


def test_no_agents_have_none():
    assert AgentLayouts([]).all_agents is None
