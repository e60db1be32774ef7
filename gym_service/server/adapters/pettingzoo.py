"""The adapters for PettingZoo's two APIs, in every version: their values cross unchanged.

Knows the attributes of such an object. Imports PettingZoo only for its registry. Never knows the wire. Python 3.6 and
up.

Before PettingZoo 1.22 there was one ``done`` instead of two flags, and before 1.23 a parallel reset returned no infos:
these are converted as docs/other-apis.md says. Anything else is passed on or refused, never rearranged.
"""

import functools
import importlib
import sys
import warnings

from gym_service.protocol.enum_classes import is_class
from gym_service.protocol.space_spec import describe
from gym_service.server import refusals
from gym_service.server.adapters import detection
from gym_service.server.adapters.gymnasium import GymnasiumAdapter


class MultiAgentAdapter(GymnasiumAdapter):
    """The part that the two adapters share: spaces by agent, attributes, render and close."""

    holds_agents = True

    def __init__(self, env):
        super().__init__(env, None, False)
        self.spaces = {}  # agent: its observation space and action space, as the client knows them

    def describe(self):
        """Everything that the client must know before the first reset; the spaces of all agents as two Dicts.

        It omits an agent whose spaces are known only after a reset: the client asks for them then.
        """
        for agent in self.possible_agents() or ():
            spaces = self._spaces(agent)
            if spaces is not None:
                self.spaces[agent] = spaces
        data = [(agent, self.describe_spaces(agent)) for agent in self.spaces]
        observation_space, action_space = (
            {"kind": "Dict", "spaces": [(agent, pair[index]) for agent, pair in data]} for index in (0, 1)
        )
        return {
            "observation_space": observation_space,
            "action_space": action_space,
            "metadata": self.metadata(),
            "render_mode": self.render_mode,
            "spec": {"id": None, "reward_threshold": None, "nondeterministic": False, "max_episode_steps": None},
            "target": self._target(),
        }

    def possible_agents(self):
        """All agents that can ever exist; None if the env does not say."""
        agents = getattr(self.env, "possible_agents", None)
        return None if agents is None else list(agents)

    def state_space(self):
        """The space of ``state()``'s results, as plain data; None if the env does not say."""
        space = getattr(self.env, "state_space", None)
        return None if space is None else describe(space, "$.state_space")

    def describe_spaces(self, agent, ask=False):
        """The agent's observation and action space as plain data; ``ask`` the env for them first."""
        if ask:
            self.spaces[agent] = self.env.observation_space(agent), self.env.action_space(agent)
        observation_space, action_space = self.spaces[agent]
        return (
            describe(observation_space, "$.observation_space(%r)" % (agent,)),
            describe(action_space, "$.action_space(%r)" % (agent,)),
        )

    def changed_spaces(self):
        """(agent, observation space, action space) for each agent whose spaces the client does not know yet."""
        changed = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the env's author was warned when the client asked
            for agent, known in self.spaces.items():
                spaces = self._spaces(agent)
                if spaces is not None and any(one is not two and one != two for one, two in zip(spaces, known)):
                    changed.append((agent, spaces))
        self.spaces.update(changed)
        return [(agent, *self.describe_spaces(agent)) for agent, _ in changed]

    def get(self, name):
        """(True, None) for an attribute that is callable, else (False, value); an Enum class counts as a value."""
        value = self._attribute(name)
        return (True, None) if callable(value) and not is_class(value) else (False, value)

    def set(self, name, value, force):
        """Set an attribute where it exists; with ``force`` else on the bare env. Returns whether it was set."""
        _refuse_private(name)
        layers = detection.layers(self.env)
        holder = next((layer for layer in layers if name in vars(layer) or hasattr(type(layer), name)), None)
        if holder is None and not force:
            return False
        setattr(layers[-1] if holder is None else holder, name, value)
        return True

    def has(self, name):
        """Whether the env has the attribute, as ``hasattr`` says in the simulator's process."""
        try:
            self._attribute(name)
        except AttributeError:
            return False
        return True

    def call(self, name, args, kwargs):
        """Call a method of the env."""
        return self._attribute(name)(*args, **kwargs)

    def takes_options(self):
        """Whether reset() takes options."""
        return "options" in self._accepts

    def reset_env(self, seed, options, **more):
        """The result of the env's reset. A seed goes to ``seed()`` if reset takes none."""
        if seed is not None and "seed" not in self._accepts:
            self._seed(seed)
            seed = None
        if options is not None and "options" not in self._accepts:
            text = "reset(options=%r): the reset() of %s takes no options"
            raise refusals.api_mismatch(text % (options, detection.described(self.env)))
        given = dict(more, seed=seed, options=options)
        return self.env.reset(**{name: value for name, value in given.items() if value is not None})

    def _attribute(self, path):
        """The env's attribute, or a nested one. Skips a conversion wrapper that does not pass the name on."""
        name, *rest = path.split(".")
        *outer, last = detection.layers(self.env)
        found = last
        for layer in outer:
            if hasattr(type(layer), "__getattr__") or name in vars(layer) or hasattr(type(layer), name):
                found = layer
                break
        return functools.reduce(getattr, rest, getattr(found, name))

    def _spaces(self, agent):
        """The agent's two spaces as the env has them now; None if it has none."""
        try:
            return self.env.observation_space(agent), self.env.action_space(agent)
        except Exception:  # noqa: BLE001 - the border: nobody has asked yet; who does is told what the env raises
            return None

    def _target(self):
        version = getattr(sys.modules.get("pettingzoo"), "__version__", "")
        return dict(super()._target(), api=("pettingzoo %s" % version).strip())


class ParallelAdapter(MultiAgentAdapter):
    """Holds a ParallelEnv."""

    def reset(self, seed, options):
        """(observations, infos, agents)."""
        more = {"return_info": True} if "return_info" in self._accepts.names else {}
        result = self.reset_env(seed, options, **more)
        if isinstance(result, dict):
            result = result, {agent: {} for agent in result}
        if not isinstance(result, tuple) or len(result) != 2:
            text = "reset() of a ParallelEnv returned %s; observations and infos were due"
            raise refusals.api_mismatch(text % refusals.form_of(result))
        return (*result, self.env.agents)

    def step(self, actions):
        """(observations, rewards, terminations, truncations, infos, agents)."""
        result = self.env.step(actions)
        if isinstance(result, tuple) and len(result) == 4:
            observations, rewards, dones, infos = result
            result = (observations, rewards, *_flags(dones, infos), infos)
        if not isinstance(result, tuple) or len(result) != 5:
            text = "step() of a ParallelEnv returned %s; five dicts were due"
            raise refusals.api_mismatch(text % refusals.form_of(result))
        return (*result, self.env.agents)


class AecAdapter(MultiAgentAdapter):
    """Holds an AECEnv."""

    def reset(self, seed, options):
        """The first turn; see ``turn``."""
        self.reset_env(seed, options)
        return self.turn()

    def step(self, action):
        """The next turn."""
        self.env.step(action)
        return self.turn()

    def turn(self):
        """Everything that an agent may read before it acts, in the order of ``agent_results.TURN``.

        The last item is the result of ``last()``, or only its observation if the rest is in the dicts already. It is
        None if no agent is left or ``last()`` raises: then the client calls ``last()`` itself and gets the error.
        """
        env = self.env
        has_two = hasattr(env, "terminations")
        flags = (env.terminations, env.truncations) if has_two else _flags(env.dones, env.infos)
        dicts = (getattr(env, "_cumulative_rewards", None), *flags, env.infos)
        last = self._last() if env.agents else None
        if last is not None and _are_items(last[1:], dicts, env.agent_selection):
            last = last[:1]
        return (env.agents, env.agent_selection, env.rewards, *dicts, last)

    def call(self, name, args, kwargs):
        """Call a method of the env. ``last`` returns five values in every version."""
        result = super().call(name, args, kwargs)
        return self._five_values(result) if name == "last" else result

    def _last(self):
        try:
            return self._five_values(self.env.last())
        except Exception:  # noqa: BLE001 - the border: nobody has asked yet; who does is told what the env raises
            return None

    def _five_values(self, result):
        if len(result) != 4:
            return result
        observation, reward, done, info = result
        terminations, truncations = _flags({"": done}, {"": info})
        return observation, reward, terminations[""], truncations[""], info


def make_registered(env_id, api, kwargs):
    """An env of PettingZoo's registry. Raises Refused if that PettingZoo has no registry."""
    module, _, env_id = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    library = importlib.import_module("pettingzoo")
    make = getattr(library, "make", None)
    if make is None:
        text = 'id = %r: pettingzoo %s has no registry of ids\n  try: entry_point = "%s"'
        example = "pettingzoo.butterfly.pistonball_v6:parallel_env"
        raise refusals.api_mismatch(text % (env_id, getattr(library, "__version__", ""), example))
    return make(api, env_id, **kwargs)


def _flags(dones, infos):
    """Terminations and truncations from the one flag before PettingZoo 1.22.

    An agent is truncated if its info says that a time limit has ended its episode.
    """
    truncations = {agent: _is_truncated(infos.get(agent)) for agent in dones}
    return {agent: False if truncations[agent] else done for agent, done in dones.items()}, truncations


def _is_truncated(info):
    return isinstance(info, dict) and info.get("TimeLimit.truncated") is True


def _are_items(values, dicts, agent):
    """Whether each value is the same object as the agent's item in the corresponding dict."""
    return all(isinstance(each, dict) and each.get(agent) is value for value, each in zip(values, dicts))


def _refuse_private(name):
    if name.startswith("_"):
        raise AttributeError("%r is private to the simulator" % name)
