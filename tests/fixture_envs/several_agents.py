"""Multi-agent envs in PettingZoo's two forms: entry points, by name. Without PettingZoo; Python 3.6 and up."""

import numpy as np

try:
    from gymnasium import spaces
except ImportError:
    from gym import spaces

FLAGS = (False, True)


class Team:
    """A parallel env: agents leave and come back, rewards change their type, infos hold what cannot cross."""

    metadata = {"name": "team_v0", "render_modes": ["rgb_array"], "words": ("a", 1)}  # noqa: RUF012

    def __init__(self, names=("red", "green", "blue"), size=4, lives=5, render_mode=None, has_state=True):
        self.possible_agents = list(names)
        self.lives, self.render_mode = lives, render_mode
        self._observation_spaces = {
            name: spaces.Box(-1.0, 1.0, (size + place,), np.float32) for place, name in enumerate(names)
        }
        self._action_spaces = {name: spaces.Discrete(3 + place) for place, name in enumerate(names)}
        if has_state:
            self.state_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.random = np.random.RandomState(0)

    def observation_space(self, agent):
        return self._observation_spaces[agent]

    def action_space(self, agent):
        return self._action_spaces[agent]

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.random = np.random.RandomState(seed)
        self.options, self.count = options, 0
        self.agents = list(self.possible_agents)
        return self._observe(), {agent: {"options": options} for agent in self.agents}

    def step(self, actions):
        self.count += 1
        self.actions = actions
        observations = self._observe()
        rewards = {agent: self._reward(place) for place, agent in enumerate(self.agents)}
        terminations = {agent: self._dies(place) for place, agent in enumerate(self.agents)}
        truncations = dict.fromkeys(self.agents, self.count >= self.lives + 4)
        infos = {agent: self._info(place) for place, agent in enumerate(self.agents)}
        self.agents = [agent for agent in self.agents if not (terminations[agent] or truncations[agent])]
        if self.count == self.lives + 2:
            self.agents.append(self.possible_agents[0])  # the first agent that left comes back
        return observations, rewards, terminations, truncations, infos

    def state(self):
        return np.array([self.count, len(self.agents), 0.5])

    def render(self):
        return np.full((8, 8, 3), self.count, np.uint8)

    def close(self):
        pass

    def sum_of(self, one, two=0):
        return one + two

    def retire(self, agent):
        """Remove an agent between two steps."""
        self.agents.remove(agent)

    def widen(self):
        """Give the first agent a larger observation space from the next reset on."""
        self._observation_spaces[self.possible_agents[0]] = spaces.Box(-2.0, 2.0, (9,), np.float64)

    def fail(self, text="no such thing"):
        raise KeyError(text)

    def _observe(self):
        return {agent: self._observation_spaces[agent].dtype.type(0) + self._noise(agent) for agent in self.agents}

    def _noise(self, agent):
        space = self._observation_spaces[agent]
        return self.random.random_sample(space.shape).astype(space.dtype)

    def _reward(self, place):
        values = (0.25, 1, np.float64(-0.5), np.float32(2), np.int64(3), True, np.array(1.5), float("nan"), 2**70)
        return values[(self.count + place) % len(values)] if self.count % 3 else float(place)

    def _dies(self, place):
        died = self.count == self.lives + place and place == 0
        return np.bool_(died) if self.count % 2 else died

    def _info(self, place):
        return {"count": self.count, "deep": {"place": (place, None)}} if self.count % 2 else {}


def plain_team(**kwargs):
    """Its results fit the packed form: floats, bools, no infos."""
    env = Team(**kwargs)
    env._reward = lambda place: place + 0.5
    env._dies = lambda place: env.count == env.lives and place == 0
    env._info = lambda place: {}
    return env


def talkative_team(**kwargs):
    """As ``plain_team``, but the second step has an info of 2 MiB of text."""
    env = plain_team(**kwargs)
    env._info = lambda place: {"text": "x" * 2**21} if env.count == 2 and place == 0 else {}
    return env


class Uncrossable(Team):
    """An info holds an object of the env's own class."""

    def _info(self, place):
        return {"self": self}


class Relay(Team):
    """Each step and each ``pass_on`` changes the order of the agents."""

    def step(self, actions):
        result = Team.step(self, actions)
        self.agents, self.count = list(self.possible_agents), self.count % 7
        return result if self.pass_on() else None

    def pass_on(self):
        self.turns = getattr(self, "turns", 0) + 1
        place = self.turns % len(self.possible_agents)
        self.agents = list(self.possible_agents[place:] + self.possible_agents[:place])
        return self.turns


class RelayThatDrops(Relay):
    """Its step changes the agents, then raises."""

    def step(self, actions):
        Relay.step(self, actions)
        raise ValueError("dropped the baton")


class Nameless(Team):
    """It does not list its agents in advance: there are no possible agents."""

    def __init__(self):
        Team.__init__(self, ("one", 2, (3, "three")))
        self._names = self.possible_agents
        del self.possible_agents

    def reset(self, seed=None, options=None):
        self.possible_agents = self._names
        return Team.reset(self, seed, options)


class Game:
    """An AEC env of two players: each turn adds to both rewards; a dead agent is stepped with None."""

    metadata = {"name": "game_v0", "render_modes": []}  # noqa: RUF012

    def __init__(self, rounds=3, flags="two"):
        self.possible_agents = ["player_0", "player_1"]
        self._space = spaces.Box(0.0, 9.0, (2,), np.float64)
        self._actions = spaces.Discrete(4)
        self.rounds, self._has_one_flag = rounds, flags == "one"
        self.render_mode = None
        self.observed = 0

    def observation_space(self, agent):
        return self._space

    def action_space(self, agent):
        return self._actions

    def reset(self, seed=None, options=None):
        self.count, self.log = 0, []
        self.agents = list(self.possible_agents)
        self.agent_selection = self.agents[0]
        self.rewards = dict.fromkeys(self.agents, 0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0)
        self.infos = {agent: {"mask": np.array([1, 1, 0, 1], np.int8)} for agent in self.agents}
        self._mark(dict.fromkeys(self.agents, False))

    def observe(self, agent):
        self.observed += 1
        return np.array([self.count, self.possible_agents.index(agent)], np.float64)

    def last(self, observe=True):
        agent = self.agent_selection
        observation = self.observe(agent) if observe else None
        beginning = observation, self._cumulative_rewards[agent]
        if self._has_one_flag:
            return (*beginning, self.dones[agent], self.infos[agent])
        return (*beginning, self.terminations[agent], self.truncations[agent], self.infos[agent])

    def step(self, action):
        self.log.append(action)
        agent = self.agent_selection
        if self._is_over(agent):
            if action is not None:
                raise ValueError("when an agent is dead, the only valid action is None")
            self._remove(agent)
            return
        self.count += 1
        self._cumulative_rewards[agent] = 0
        self.rewards = {"player_0": 0.5 if agent == "player_0" else np.float32(1), "player_1": self.count}
        for name in self.agents:
            self._cumulative_rewards[name] += self.rewards[name]
        self.infos = dict(self.infos, **{agent: {"action": action, "mask": np.array([1, 0, 0, 1], np.int8)}})
        if self.count == 2 * self.rounds:
            self._mark(dict.fromkeys(self.agents, True))
        self.agent_selection = self.agents[(self.agents.index(agent) + 1) % len(self.agents)]

    def render(self):
        return None

    def close(self):
        pass

    def skip(self):
        """Pass the turn on without a step."""
        self.agent_selection = next(agent for agent in self.agents if agent != self.agent_selection)

    def _mark(self, over):
        if self._has_one_flag:
            self.dones = over
        else:
            self.terminations, self.truncations = over, dict.fromkeys(over, False)

    def _is_over(self, agent):
        return self.dones[agent] if self._has_one_flag else self.terminations[agent] or self.truncations[agent]

    def _remove(self, agent):
        dicts = [self.rewards, self._cumulative_rewards, self.infos]
        dicts += [self.dones] if self._has_one_flag else [self.terminations, self.truncations]
        for each in dicts:
            del each[agent]
        self.agents.remove(agent)
        self.agent_selection = self.agents[0] if self.agents else agent


class GameThatDrops(Game):
    """Its step removes the agent whose turn it is, then raises."""

    def step(self, action):
        self._remove(self.agent_selection)
        raise ValueError("dropped the baton")


def state_of(env, names):
    """The attributes of an env, as texts."""
    return [repr(getattr(env, name)) for name in names]


def game_of_old(**kwargs):
    """As before PettingZoo 1.22: one flag, four values."""
    return Game(flags="one", **kwargs)


class TeamOfOld(Team):
    """As before PettingZoo 1.22: reset returns only observations and takes no seed, step returns four dicts."""

    def seed(self, seed=None):
        self.random = np.random.RandomState(seed)

    def reset(self):
        return Team.reset(self)[0]

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = Team.step(self, actions)
        dones = {agent: bool(terminations[agent] or truncations[agent]) for agent in terminations}
        for agent in infos:
            if truncations[agent]:
                infos[agent] = dict(infos[agent], **{"TimeLimit.truncated": True})
        return observations, rewards, dones, infos


class Rearranged(Team):
    """Its step returns three values, which cannot be converted to five."""

    def step(self, actions):
        return Team.step(self, actions)[:3]
