#!/usr/bin/env bash
# Shimmy 2.0.1: the actions -1, 0, 1 of a Gym env become 0, 1, 2 in its Gymnasium space, and reach the env as that.
#
# Guess before the run: GymV26CompatibilityV0 gives an env of Gym 0.26 the same spaces in Gymnasium. Discrete(3,
# start=-1) stays so, samples of the action space are -1, 0 and 1, and observations are in the observation space.
# Seen: start is lost, also within Dict spaces. Sampled actions are 0, 1 and 2 and are passed on as they are, so an
# env that steers left by -1 never does, and gets a 2 that its own space has not. A policy that takes its outputs from
# the space does the same. Observations are out of their space. Nothing is raised.
#
# Output seen, of an env that moves by its action along a line of five places, from 1 to 5:
#   Gym: Discrete(3, start=-1), Discrete(5, start=1), observation within True, actions taken [-1, 0, 1]
#   Shimmy: Discrete(3), Discrete(5), observation within False, actions taken [0, 1, 2]
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --no-cache --python "$folder/venv/bin/python" shimmy==2.0.1 gym==0.26.2 \
    gymnasium==1.4.0 numpy==1.26.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gym
from shimmy import GymV26CompatibilityV0


class Line(gym.Env):
    """Moves by -1, 0 or 1 between the places 1 to 5."""

    action_space = gym.spaces.Discrete(3, start=-1)
    observation_space = gym.spaces.Discrete(5, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = set()
        self.place = 5
        return self.place, {}

    def step(self, action):
        self.taken.add(int(action))
        self.place = min(max(self.place + int(action), 1), 5)
        return self.place, 0.0, False, False, {}


def show(words, env):
    observation, _ = env.reset(seed=0)
    within = env.observation_space.contains(observation)
    env.action_space.seed(0)
    for _ in range(100):
        env.step(env.action_space.sample())
    taken = sorted(env.unwrapped.taken)
    print(f"{words}: {env.action_space}, {env.observation_space}, observation within {within}, actions taken {taken}")


show("Gym", Line())
show("Shimmy", GymV26CompatibilityV0(env=Line()))
PYTHON
diff "$folder/output" - <<'EXPECTED'
Gym: Discrete(3, start=-1), Discrete(5, start=1), observation within True, actions taken [-1, 0, 1]
Shimmy: Discrete(3), Discrete(5), observation within False, actions taken [0, 1, 2]
EXPECTED
