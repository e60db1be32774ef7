"""All kinds of messages: each call, each reply, and the states in which each call is legal.

Knows the fields of a message. Never knows how a message travels or which code carries it out. Python 3.6 and up; runs
on both sides.

A message's fields are values in a row (``encoder.py``), except in the packed kinds, which use layouts: there the action
is the version of its layout and its bytes, and a step's reply is reward, flags, version and the observation's bytes.

==============  =====================================================  ==============================================
call            its fields                                             its result
==============  =====================================================  ==============================================
MAKE            recipe (dict)                                          description (dict)
RESET           seed, options, [args, kwargs]                          observation, info; or the one other value
STEP            action, [args, kwargs]                                 observation, reward, terminated, truncated, info;
                                                                       or the one other value that step() returned
STEP_PACKED     the layout's version, the action's layout              the same
RENDER          [args, kwargs]                                         whatever the env renders
GET             name                                                   True, None for a callable; False, value
SET             name, value, force                                     whether it was set
HAS             name                                                   whether some wrapper or the env has it
NAMES                                                                  the public names of the env and its wrappers
CALL            name, args, kwargs                                     what it returned
CALL_FUNCTION   "module:function" or (Python, cloudpickle), args, kwargs  what it returned
CLOSE                                                                  None
VEC_RESET       seeds, options (of all; a list: of each), mask (a      a batch (``results.encode_batch``)
                list, or None for all)
VEC_STEP        actions (a list)                                       the same
RANDOM          np_random or _np_random; None, or (kind, bit           None, or (kind, bit generator, state) of it
                generator, state, whether it replaces the generator)
                (of a batch: a list of (index, the same) in the place of the second, and a list of results)
REQUIRE_RESET                                                          None; step and render are refused until a reset
VEC_STEP_PACKED  the layout's version, the batched actions' layout     the same
STEP_SOME       indices, actions (two lists of one length)             groups (``early_results``)
STEP_SOME_PACKED  parts of packed actions (``early_results``)          the same
RESET_SOME      indices, seeds, options (three lists of one length)    the same
RESET_REST                                                             the same, for the envs of a VEC_RESET
AGENT_FACTS                                                            possible agents, the states' space; or None
AGENT_SPACES    agent                                                  its observation space, its action space
AGENT_RESET     seed, options                                          a result of several agents (``agent_results``)
AGENT_STEP      actions by agent; of an AEC env one action             the same
AGENT_STEP_PACKED  the actions' layouts (``agent_results``)            the same
AGENT_TURN                                                             the same, of an AEC env alone, without a step
==============  =====================================================  ==============================================

An attribute's name may be several names with dots between them, ``sim.data.qpos``.

``[args, kwargs]`` are arguments beyond Gymnasium's own; either both are present or neither.

A recipe with a ``batch`` makes several envs in one server. There RENDER, SET, CALL and CLOSE apply to all of them:
results and the value of SET are lists, one item for each env, and CALL returns the value of an attribute that is not
callable.

STEP_SOME, STEP_SOME_PACKED and RESET_SOME are for some of the envs of a batch, each of them once. Every env counts for
itself: if one raises, the others go on. An index counts the server's own envs. RESET_REST follows a VEC_RESET that was
answered with ERROR: it gives the result or the error of each of its envs, and resets those that the error left out.

A recipe whose ``api`` is ``parallel`` or ``aec`` makes a multi-agent env. Its description has the agents' spaces as two
Dicts. AGENT_RESET returns, after the result, the possible agents, and (agent, spaces) where these have changed.

A call is answered by RESULT, by STEPPED (a packed step), by PLACED (a packed batch whose large leaves are written into
the memory that the call offered), by LAST_GROUP (results of some envs, after any number of GROUP) or by ERROR. Before
that, any number of these may come: WARNING (category, text), PART (a list: the first items of a list too long for one
frame) and CHANGED (a dict: the parts of the description, that is spaces, metadata and render mode, that have changed
since the last answer; after reset, set and calls of a single env). Each carries the call's id.
"""

MAKE, RESET, STEP, STEP_PACKED, RENDER, GET, SET, HAS, CALL, CALL_FUNCTION, CLOSE = range(1, 12)
VEC_RESET, VEC_STEP, VEC_STEP_PACKED = range(12, 15)
AGENT_FACTS, AGENT_SPACES, AGENT_RESET, AGENT_STEP, AGENT_STEP_PACKED, AGENT_TURN, REQUIRE_RESET, RANDOM = range(15, 23)
NAMES = 23
STEP_SOME, STEP_SOME_PACKED, RESET_SOME, RESET_REST = range(24, 28)
RESULT, STEPPED, ERROR, WARNING, PART, PLACED, CHANGED, GROUP, LAST_GROUP = range(65, 74)

CALL_NAMES = {
    MAKE: "make",
    RESET: "reset",
    STEP: "step",
    STEP_PACKED: "step",
    RENDER: "render",
    GET: "get",
    SET: "set",
    HAS: "has",
    CALL: "call",
    CALL_FUNCTION: "call",
    CLOSE: "close",
    VEC_RESET: "reset",
    VEC_STEP: "step",
    VEC_STEP_PACKED: "step",
    AGENT_FACTS: "get",
    AGENT_SPACES: "get",
    AGENT_RESET: "reset",
    AGENT_STEP: "step",
    AGENT_STEP_PACKED: "step",
    AGENT_TURN: "get",
    REQUIRE_RESET: "make",
    RANDOM: "get",
    NAMES: "get",
    STEP_SOME: "step",
    STEP_SOME_PACKED: "step",
    RESET_SOME: "reset",
    RESET_REST: "reset",
}

# The server's states, and the calls that each allows.
NEW, MADE, BATCHED, MULTI_AGENT, CLOSED = "new", "made", "batched", "made for several agents", "closed"
LEGAL = {
    NEW: {MAKE, CLOSE},
    MADE: {RESET, STEP, STEP_PACKED, RENDER, GET, SET, HAS, CALL, CALL_FUNCTION, RANDOM, REQUIRE_RESET, NAMES, CLOSE},
    BATCHED: {
        VEC_RESET,
        VEC_STEP,
        VEC_STEP_PACKED,
        STEP_SOME,
        STEP_SOME_PACKED,
        RESET_SOME,
        RESET_REST,
        RENDER,
        SET,
        CALL,
        RANDOM,
        REQUIRE_RESET,
        CLOSE,
    },
    MULTI_AGENT: {
        AGENT_FACTS,
        AGENT_SPACES,
        AGENT_RESET,
        AGENT_STEP,
        AGENT_STEP_PACKED,
        AGENT_TURN,
        RENDER,
        GET,
        SET,
        HAS,
        CALL,
        CALL_FUNCTION,
        REQUIRE_RESET,
        NAMES,
        CLOSE,
    },
    CLOSED: set(),
}
# For copied and restarted envs: the calls that are legal but refused until the first reset.
UNTIL_RESET = {STEP, STEP_PACKED, VEC_STEP, VEC_STEP_PACKED, STEP_SOME, STEP_SOME_PACKED, RENDER}
UNTIL_RESET |= {AGENT_STEP, AGENT_STEP_PACKED}

# The calls whose answers show the env's state: their images may be encoded, perhaps with loss (``image_codec.py``).
SHOWING = {RESET, STEP, STEP_PACKED, RENDER, VEC_RESET, VEC_STEP, VEC_STEP_PACKED}
SHOWING |= {STEP_SOME, STEP_SOME_PACKED, RESET_SOME, RESET_REST}
SHOWING |= {AGENT_RESET, AGENT_STEP, AGENT_STEP_PACKED, AGENT_TURN}

# The calls of a single env after which its spaces, metadata and render mode are checked again.
CHANGING = {RESET, SET, CALL, CALL_FUNCTION}

# The first field of an ERROR: the origin of the error, which decides the exception that the caller gets. REFUSED: the
# server itself refuses, since the env cannot do what the call asks or returned a value of an unknown form.
FROM_ENV, CANNOT_CROSS, ILLEGAL, REFUSED = "env", "cannot cross", "illegal", "refused"


class Illegal(Exception):
    """A call that does not exist, or is not legal in this state. Nothing was done."""

    def __init__(self, kind, state):
        super().__init__("the call %s is not legal while the env is %s" % (CALL_NAMES.get(kind, kind), state))
