#!/usr/bin/env bash
# Shimmy 2.0.1: each game of Kuhn poker is cut off after its first move, before anyone is paid.
#
# Guess before the run: a game of OpenSpiel ends in Shimmy where OpenSpiel says that it has ended, and pays then. Kuhn
# poker, the smallest poker there is, has two or three moves and pays 1 or 2.
# Seen: Shimmy counts the dealing of cards as moves, and cuts a game that has more than OpenSpiel's max_game_length,
# which counts the moves of players only. Two cards and one move are three of three, so each game of Kuhn poker ends
# truncated, with reward 0, and nothing can be learned. The long games of Leduc poker are cut, and so is each game of
# Goofspiel, after six of its thirteen rounds. Tic-tac-toe has no chance in it and runs to its end. There nine moves
# are truncated as well as terminated, as the most that there can be. Nothing is raised.
#
# Output seen, of 100 games each between players who choose at random:
#   kuhn_poker: 0 ended, 100 truncated, 100 without a payoff, 1 moves at most
#   leduc_poker: 83 ended, 47 truncated, 20 without a payoff, 5 moves at most
#   goofspiel: 0 ended, 100 truncated, 100 without a payoff, 12 moves at most
#   tic_tac_toe: 100 ended, 36 truncated, 12 without a payoff, 9 moves at most
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

GAMES = 100

for name in ("kuhn_poker", "leduc_poker", "goofspiel", "tic_tac_toe"):
    env = OpenSpielCompatibilityV0(game_name=name)
    choices = np.random.default_rng(0)
    ended = truncations = unpaid = 0
    moves = []
    for seed in range(GAMES):
        env.reset(seed=seed)
        paid = False
        moves.append(0)
        for agent in env.agent_iter():
            _, reward, terminated, truncated, info = env.last()
            paid = paid or reward != 0
            over = terminated or truncated
            moves[-1] += not over
            env.step(None if over else int(choices.choice(np.flatnonzero(info["action_mask"]))))
        ended += env.game_state.is_terminal()
        truncations += truncated
        unpaid += not paid
    print(f"{name}: {ended} ended, {truncations} truncated, {unpaid} without a payoff, {max(moves)} moves at most")
PYTHON
diff "$folder/output" - <<'EXPECTED'
kuhn_poker: 0 ended, 100 truncated, 100 without a payoff, 1 moves at most
leduc_poker: 83 ended, 47 truncated, 20 without a payoff, 5 moves at most
goofspiel: 0 ended, 100 truncated, 100 without a payoff, 12 moves at most
tic_tac_toe: 100 ended, 36 truncated, 12 without a payoff, 9 moves at most
EXPECTED
