"""The calls of a multi-agent env: one call in, one answer out.

Knows the adapters of PettingZoo's two APIs and the forms of their results. Never knows how bytes travel. Python 3.6 and
up.
"""

from gym_service.protocol import agent_results, messages
from gym_service.protocol.agent_results import AgentLayouts
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.values import BadValue
from gym_service.server.adapters.pettingzoo import AecAdapter


class MultiAgentCalls:
    """Answers each call with the kind of the reply and its Encoder, which the loop sends."""

    def __init__(self, adapter, counters, description, layouts_changed):
        """``layouts_changed()`` is called after a reset that has changed ``layouts``."""
        self._adapter = adapter
        self._layouts_changed = layouts_changed
        self._counters = counters
        self._is_aec = isinstance(adapter, AecAdapter)
        self._reset_names = agent_results.TURN if self._is_aec else agent_results.PARALLEL_RESET
        self._step_names = agent_results.TURN if self._is_aec else agent_results.PARALLEL_STEP
        spaces = [dict(description[name]["spaces"]) for name in ("observation_space", "action_space")]
        self._spaces = {agent: (spaces[0][agent], spaces[1][agent]) for agent in spaces[0]}
        self._version = 0
        self._compile()

    def facts(self):
        """The possible agents, and the state space."""
        return messages.RESULT, Encoder().add(self._adapter.possible_agents()).add(self._adapter.state_space())

    def spaces(self, agent):
        """The observation and action space of an agent that the description omits."""
        observation_space, action_space = self._adapter.describe_spaces(agent, ask=True)
        return messages.RESULT, Encoder().add(observation_space).add(action_space)

    def reset(self, seed, options):
        """Start an episode."""
        result = self._adapter.reset(seed, options)
        self._counters.episodes += 1
        changed = self._adapter.changed_spaces()
        # Only agents that the description lists: the others have no layout on either side.
        known = {agent: spaces for agent, *spaces in changed if agent in self._spaces}
        if known:
            self._spaces.update(known)
            self._version += 1
            self._compile()
            self._layouts_changed()
        possible_agents = self._adapter.possible_agents()
        return messages.RESULT, agent_results.encode(self._reset_names, result, possible_agents, changed)

    def step(self, action):
        """One parallel step, or one turn of an AEC env."""
        return self.encode_step(self.act(action))

    def step_packed(self, head, buffers):
        """One parallel step whose actions fit their layouts."""
        return self.step(self.layouts.unpack_actions(head, buffers))

    def act(self, action):
        """Carry out a step, and return its result as the adapter does."""
        result = self._adapter.step(action)
        self._counters.step(1)
        return result

    def encode_step(self, result):
        """The answer to a step that has this result."""
        encoder = None if self._is_aec else self.layouts.pack_step(result)
        if encoder is not None:
            return messages.STEPPED, encoder
        return messages.RESULT, agent_results.encode(self._step_names, result)

    def turn(self):
        """The current turn of an AEC env, again. Raises BadValue for the parallel API, which has no turns."""
        if not self._is_aec:
            raise BadValue("a parallel env has no turns")
        return messages.RESULT, agent_results.encode(agent_results.TURN, self._adapter.turn())

    def _compile(self):
        self.layouts = AgentLayouts([(agent, *spaces) for agent, spaces in self._spaces.items()], self._version)
