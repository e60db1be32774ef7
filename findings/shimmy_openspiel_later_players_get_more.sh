#!/usr/bin/env bash
# Shimmy 2.0.1: the second player of an OpenSpiel game gets twice the payoff, the third three times.
#
# Guess before the run: the rewards that last() gives an agent in one game add up to what OpenSpiel pays that player. In
# a zero-sum game they add up to 0 over the agents, as in PettingZoo's own games.
# Seen: only for the agent that is asked first after the end. Each agent that is removed lets the rewards be added once
# more to those of all who are left. So in tic-tac-toe the second player wins 2 or loses 2, and the first wins 1 or
# loses 1. The rewards of the env are right, last() gives what was added up. Nothing is raised.
#
# Output seen, of games between players who choose at random:
#   tic_tac_toe: OpenSpiel pays 0 0, last() gave 0 0
#   tic_tac_toe: OpenSpiel pays 1 -1, last() gave 1 -2
#   connect_four: OpenSpiel pays -1 1, last() gave -1 2
#   connect_four: OpenSpiel pays -1 1, last() gave -1 2
#   backgammon: OpenSpiel pays -1 1, last() gave -1 2
#   backgammon: OpenSpiel pays 1 -1, last() gave 1 -2
#   oh_hell: OpenSpiel pays 1 6 4, last() gave 1 12 12
#   oh_hell: OpenSpiel pays 7 2 0, last() gave 7 4 0
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --no-cache --python "$folder/venv/bin/python" shimmy==2.0.1 \
    open-spiel==2.0.2 pettingzoo==1.27.0 gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import numpy as np
from shimmy import OpenSpielCompatibilityV0


def played(env, seed):
    """What last() gave each agent in a game, in all."""
    choices = np.random.default_rng(seed)
    env.reset(seed=seed)
    given = dict.fromkeys(env.possible_agents, 0.0)
    for agent in env.agent_iter():
        _, reward, terminated, truncated, info = env.last()
        given[agent] += reward
        over = terminated or truncated
        env.step(None if over else int(choices.choice(np.flatnonzero(info["action_mask"]))))
    return given.values()


def numbers(values):
    return " ".join(f"{value:g}" for value in values)


for name in ("tic_tac_toe", "connect_four", "backgammon", "oh_hell"):
    for seed in range(2):
        env = OpenSpielCompatibilityV0(game_name=name)
        given = numbers(played(env, seed))
        print(f"{name}: OpenSpiel pays {numbers(env.game_state.returns())}, last() gave {given}")
PYTHON
diff "$folder/output" - <<'EXPECTED'
tic_tac_toe: OpenSpiel pays 0 0, last() gave 0 0
tic_tac_toe: OpenSpiel pays 1 -1, last() gave 1 -2
connect_four: OpenSpiel pays -1 1, last() gave -1 2
connect_four: OpenSpiel pays -1 1, last() gave -1 2
backgammon: OpenSpiel pays -1 1, last() gave -1 2
backgammon: OpenSpiel pays 1 -1, last() gave 1 -2
oh_hell: OpenSpiel pays 1 6 4, last() gave 1 12 12
oh_hell: OpenSpiel pays 7 2 0, last() gave 7 4 0
EXPECTED
