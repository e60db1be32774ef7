"""The multi-agent envs that a user holds: PettingZoo's two APIs, with the simulator in another interpreter.

Knows PettingZoo's API, of every version since 1.24, and the calls. Never knows how the server was started. Needs
PettingZoo; Python 3.10 and up.

Both hold a ``RemoteEnv``, which treats the env as one whose spaces are Dicts over the agents. It owns the connection,
starts another server if ``restart`` asks for one, and reads and sets attributes.
"""

import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from gymnasium import spaces
from gymnasium.spaces import GraphInstance

from gym_service.client.compiled_call import NOT_COMPILED
from gym_service.client.compiled_step import CompiledStep, compile_agents_step
from gym_service.client.connection import Connection, SpacesChanged, fields
from gym_service.client.env import RemoteEnv
from gym_service.client.env_facts import MALFORMED
from gym_service.client.remote_method import RemoteMethod
from gym_service.client.requests import encode
from gym_service.client.spaces import space_from
from gym_service.protocol import agent_results, messages
from gym_service.protocol.agent_results import AgentLayouts
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import Frame
from gym_service.protocol.interrupts import is_foreign
from gym_service.protocol.space_spec import describe
from gym_service.protocol.values import BadValue

try:
    from pettingzoo import AECEnv, ParallelEnv
except ModuleNotFoundError as error:
    if error.name != "pettingzoo":
        raise
    text = "envs of several agents need PettingZoo on this side too\n  try: pip install 'gym-service[pettingzoo]'"
    raise ImportError(text, name="pettingzoo") from error

T = TypeVar("T", bound="_RemoteAgents")
Observations = dict[Any, Any]
Infos = dict[Any, dict[str, Any]]
Pair = tuple[spaces.Space[Any], spaces.Space[Any]]  # observation space, action space


class _RemoteAgents:
    """The part that the two share: spaces by agent, attributes of the simulator, render and close.

    The facts that the simulator states (``metadata``, ``agents``, …) are stored in the instance, as of the last call
    that may have changed them; reading any other public attribute asks the simulator.

    Interrupts and errors. A call that changes facts removes them first, and stores them when its result is here. If it
    ends in between, they are missing, so the next read asks the simulator.
    """

    # Attributes that the simulator changes by itself. They are stored here after a reset or a step, and requested again
    # after a method call or an assignment, or if a reset or a step has failed.
    _MIRRORED: tuple[str, ...] = ("agents",)

    _remote: RemoteEnv
    _recreate: "Callable[[], _RemoteAgents] | None"
    _spaces: dict[Any, Pair]
    _described: list[Any]
    _layouts: Any
    _compiled_step: CompiledStep
    _learned_from: Connection  # the server that all of these are from
    _version: int
    _changed_in: int | None  # the call that has changed the spaces last

    def __init__(self, remote: RemoteEnv, recreate: "Callable[[], _RemoteAgents] | None" = None) -> None:
        """Take over an env that a server has made.

        Args:
            remote: the env as a single env; this object owns it from here on.
            recreate: makes the same env again, for a pickled or copied env. It must pickle.
        """
        self.__dict__["_remote"] = remote
        self.__dict__["_recreate"] = recreate
        self.__dict__["_spaces"] = {}
        self._learn()

    def _learn(self) -> None:
        """Ask a server that has just made the env for facts that its description omits."""
        remote, own = self._remote, self.__dict__
        connection = remote._connection
        possible_agents, state_space = remote._call(messages.AGENT_FACTS, Encoder(), lambda frame: fields(frame, 2))
        own["metadata"] = remote.metadata
        own["render_mode"] = remote.render_mode
        own.update(_version=0, _changed_in=None)
        self._keep_possible(possible_agents)
        if state_space is not None:
            own["state_space"] = space_from(state_space)
        pairs = zip(remote.observation_space.items(), remote.action_space.items(), strict=True)  # type: ignore[attr-defined]
        for (agent, observation_space), (_, action_space) in pairs:
            self._keep_spaces(agent, (observation_space, action_space))
        own["_described"] = list(remote.observation_space)  # type: ignore[call-overload]
        self._compile(connection.changes)
        own["_learned_from"] = connection

    def _learn_again(self) -> None:
        """Learn from another server, unless another thread has done so: also after an interrupted restart."""
        remote = self._remote
        with remote._restarting:
            if remote._connection is not self._learned_from:
                for agent in self._spaces.keys() - {*self._described}:
                    del self._spaces[agent]  # the description omits it
                self._learn()

    # -- PettingZoo's contract, as far as both APIs have it --------------------------------------------------------

    def observation_space(self, agent: Any) -> spaces.Space[Any]:
        """The agent's observation space: the same object each time, unless the simulator's has changed.

        Raises EnvError if the simulator has no such agent.
        """
        return self._spaces_of(agent)[0]

    def action_space(self, agent: Any) -> spaces.Space[Any]:
        """The agent's action space; see ``observation_space``."""
        return self._spaces_of(agent)[1]

    @property
    def observation_spaces(self) -> dict[Any, spaces.Space[Any]]:
        """The observation space of each possible agent. Raises AttributeError if the simulator lists none."""
        return {agent: self.observation_space(agent) for agent in self.possible_agents}

    @property
    def action_spaces(self) -> dict[Any, spaces.Space[Any]]:
        """The action space of each possible agent. Raises AttributeError if the simulator lists none."""
        return {agent: self.action_space(agent) for agent in self.possible_agents}

    def state(self) -> Any:
        """The simulator's global state. Raises NotImplementedError (as an EnvError) if it has none."""
        return self._remote.call("state")

    def render(self) -> Any:
        """The simulator's rendering, in the mode it was made with."""
        return self._remote.render()

    def close(self) -> None:
        """Close the simulator and wait until its process has ended. Blocks as ``RemoteEnv.close``; can be repeated."""
        self._remote.close()

    # -- the simulator's side --------------------------------------------------------------------------------------

    @property
    def target(self) -> dict[str, Any]:
        """Facts about the simulator's side; see ``RemoteEnv.target``."""
        return self._remote.target

    def call(self, method: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run code in the simulator's process and return its result; see ``RemoteEnv.call``."""
        self._forget()
        try:
            return self._remote.call(method, *args, **kwargs)
        finally:
            self._forget()  # another thread may have requested them before the call

    def __getattr__(self, name: str) -> Any:
        """An attribute that only the simulator has. Raises AttributeError if it has none."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self._remote._read(name)
        return RemoteMethod(self, name) if isinstance(value, RemoteMethod) else value

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute in the simulator, where it exists; a method or property of this class is set here."""
        if hasattr(type(self), name):
            object.__setattr__(self, name, value)
            return
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is private to the simulator, and does not cross")
        was_stored = self.__dict__.pop(name, self) is not self
        self._forget()
        self._remote._ask(messages.SET, name, value, True)
        if was_stored:
            self.__dict__[name] = value
        self._forget()  # another thread may have requested them before the assignment

    def __reduce__(self) -> tuple[Any, ...]:
        """An env is pickled, copied and spawned as its recipe: a new server is started where it is unpickled."""
        if self._recreate is None:
            raise TypeError(f"this {type(self).__name__} was made without a recipe, so it cannot be pickled or copied")
        return self._recreate, ()

    def __repr__(self) -> str:
        """The simulator's env and its interpreter."""
        return repr(self._remote).replace(type(self._remote).__name__, type(self).__name__)

    # --------------------------------------------------------------------------------------------------------------

    def _begin(self, seed: Any, options: Any, names: tuple[str, ...]) -> list[Any]:
        """Reset: the parts of the result. First starts another server if ``restart`` says so."""
        remote = self._remote
        self._forget()
        if remote._restart and remote._connection.has_failed():
            remote._start_again()
        if remote._connection is not self._learned_from:
            self._learn_again()
        arguments = encode(("$.seed", seed), ("$.options", options))
        read = partial(_reset_result, names, weakref.WeakMethod(self._keep_changes))
        return remote._call(messages.AGENT_RESET, arguments, read)

    def _keep_changes(self, call_id: int, possible_agents: Any, changed: list[tuple[Any, Pair]]) -> None:
        """Store what a reset has changed. After an interrupt the same answer may arrive here again."""
        own, connection = self.__dict__, self._remote._connection
        self._keep_possible(possible_agents)
        for agent, found in changed:
            self._keep_spaces(agent, found)
        if any(agent in self._described for agent, _ in changed):
            if own["_changed_in"] != call_id:
                own.update(_version=own["_version"] + 1, _changed_in=call_id)
            self._compile(connection.changes + 1)
            connection.changes += 1  # a step that waits, and was packed for the old spaces, is packed again

    def _compile(self, changes: int) -> None:
        """Compile the layouts of the agents that both sides have known since the env was made.

        ``changes``: the value of ``connection.changes`` as long as they are right.
        """
        described = [(agent, *[describe(space, "$") for space in self._spaces[agent]]) for agent in self._described]
        layouts = AgentLayouts(described, self._version)
        connection, limit_s = self._remote._connection, self._remote._limits_s["step"]
        compiled = compile_agents_step(connection, layouts, limit_s, partial(_step_result, layouts), changes)
        self.__dict__.update(_layouts=layouts, _compiled_step=compiled)

    def _spaces_of(self, agent: Any) -> Pair:
        if self._remote._connection is not self._learned_from:
            self._learn_again()
        found = self._spaces.get(agent)
        if found is None:
            arguments = encode(("$.agent", agent))
            data = self._remote._call(messages.AGENT_SPACES, arguments, lambda frame: fields(frame, 2))
            found = self._spaces[agent] = space_from(data[0]), space_from(data[1])
        return found

    def _keep_spaces(self, agent: Any, found: Pair) -> None:
        """Store new spaces. If one equals the old one, the old one stays, since user code may have seeded it."""
        old = self._spaces.get(agent, found)
        self._spaces[agent] = (
            old[0] if old[0] == found[0] else found[0],
            old[1] if old[1] == found[1] else found[1],
        )

    def _keep_possible(self, possible_agents: Any) -> None:
        if possible_agents is None:
            self.__dict__.pop("possible_agents", None)
        else:
            self.__dict__["possible_agents"] = possible_agents

    def _forget(self) -> None:
        """Forget attributes that the simulator may have changed; they are requested at the next read."""
        for name in self._MIRRORED:
            self.__dict__.pop(name, None)


class RemoteParallelEnv(_RemoteAgents, ParallelEnv):
    """A ``pettingzoo.ParallelEnv`` in another interpreter. All results are the simulator's.

    A step is one round trip, however many agents there are. Each call blocks and raises as those of ``RemoteEnv``. To
    read, call or assign a public attribute that this class does not define means the simulator's attribute.
    """

    def reset(self, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observations, Infos]:
        """Start an episode: (observations, infos), each by agent."""
        observations, infos, agents = self._begin(seed, options, agent_results.PARALLEL_RESET)
        self.__dict__["agents"] = agents
        return observations, infos

    def step(
        self, actions: dict[Any, Any]
    ) -> tuple[Observations, dict[Any, Any], dict[Any, bool], dict[Any, bool], Infos]:
        """(observations, rewards, terminations, truncations, infos), each by agent, in the simulator's order."""
        own = self.__dict__
        own.pop("agents", None)
        result = self._compiled_step(actions)
        while result is NOT_COMPILED:
            connection, limit_s = self._remote._connection, self._remote._limits_s["step"]
            changes, layouts = connection.changes, self._layouts
            packed = layouts.pack_actions(actions)
            kind = messages.AGENT_STEP if packed is None else messages.AGENT_STEP_PACKED
            arguments = packed or encode(("$.actions", actions))
            with suppress(SpacesChanged):  # the call that this one waited for has stored them
                result = connection.call(kind, arguments, limit_s, partial(_step_result, layouts), changes=changes)
        observations, rewards, terminations, truncations, infos, own["agents"] = result
        return observations, rewards, terminations, truncations, infos


# The next two are not methods: the connection keeps these functions, and must not keep the env alive.


def _reset_result(names: tuple[str, ...], keep: "weakref.WeakMethod[Callable[..., None]]", frame: Frame) -> list[Any]:
    """The result of a reset. What it has changed is kept here, since after an interrupt no caller gets the result."""
    *result, possible_agents, changed = agent_results.decode(names, frame, GraphInstance, more=2)
    try:
        spaces_of = [(agent, (space_from(one), space_from(other))) for agent, one, other in changed]
    except MALFORMED as error:
        if is_foreign(error):
            raise
        raise BadValue(f"not the spaces of agents: {error}") from error
    keep_changes = keep()
    if keep_changes is not None:
        keep_changes(frame.call_id, possible_agents, spaces_of)
    return result


def _step_result(layouts: AgentLayouts, frame: Frame) -> list[Any]:
    """The result of a step."""
    if frame.kind == messages.STEPPED:
        return layouts.unpack_step(frame.head, frame.buffers, GraphInstance, frame.arrays)
    return agent_results.decode(agent_results.PARALLEL_STEP, frame, GraphInstance)


class RemoteAECEnv(_RemoteAgents, AECEnv):
    """A ``pettingzoo.AECEnv`` in another interpreter. All results are the simulator's.

    A turn is one round trip: the answer to ``step`` and ``reset`` contains the next agent, its observation, all
    rewards, cumulative rewards, flags and infos. The observation of another agent, or a repeated request, costs one
    more round trip. The dicts here are copies: changes to them do not reach the simulator.
    """

    _MIRRORED = (
        "agents",
        "agent_selection",
        "rewards",
        "_cumulative_rewards",
        "terminations",
        "truncations",
        "infos",
        "_last",
        "_has_observation",
    )

    def reset(self, seed: Any = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode."""
        self._keep_turn(self._begin(seed, options, agent_results.TURN))

    def step(self, action: Any) -> None:
        """Act for the agent whose turn it is (``agent_selection``); None for one whose episode is over."""
        arguments = encode(("$.action", action))
        self._forget()
        self._keep_turn(self._remote._call(messages.AGENT_STEP, arguments, _turn))

    def observe(self, agent: Any) -> Any:
        """The agent's observation, as the simulator returns it now."""
        own = self.__dict__
        if own.get("_is_standard") and own.get("_has_observation") and agent == own["agent_selection"]:
            own["_has_observation"] = False
            return own["_last"][0]
        return self._remote.call("observe", agent)

    def last(self, observe: bool = True) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """(observation, cumulative reward, terminated, truncated, info) of the agent whose turn it is.

        Without ``observe`` the observation is None.
        """
        last = self._last
        if last is None or (observe and not self._has_observation):
            return self._remote.call("last", observe)
        if observe:
            self.__dict__["_has_observation"] = False
        return (last[0] if observe else None, *last[1:])

    def __getattr__(self, name: str) -> Any:
        """An attribute that only the simulator has; after a call or an assignment, one of the turn's."""
        if name not in self._MIRRORED or not self.__dict__.get("_was_reset"):
            if name == "_last":  # before the first reset: the simulator says what it says then
                return None
            return super().__getattr__(name)
        self._keep_turn(self._remote._call(messages.AGENT_TURN, Encoder(), _turn))
        return self.__dict__[name]

    def _keep_turn(self, turn: list[Any]) -> None:
        """Store a turn, all of it at once."""
        *parts, last = turn
        new = dict(zip(self._MIRRORED, parts, strict=False))
        is_standard = last is not None and len(last) == 1
        if is_standard:
            agent = new["agent_selection"]
            try:
                last = (*last, *[new[name][agent] for name in _OF_AN_AGENT])
            except (KeyError, TypeError) as error:
                raise BadValue(f"a turn of {agent!r} without its reward, flags and info") from error
        self.__dict__.update(
            new, _last=last, _has_observation=last is not None, _is_standard=is_standard, _was_reset=True
        )


_OF_AN_AGENT = ("_cumulative_rewards", "terminations", "truncations", "infos")


def _turn(frame: Frame) -> list[Any]:
    return agent_results.decode(agent_results.TURN, frame, GraphInstance)
