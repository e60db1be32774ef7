#!/usr/bin/env bash
# PettingZoo 1.27.0: a turn-based game as a parallel env returns four dicts, not five, once no agent is left.
#
# Guess before the run: after the last agent has left, step({}) returns five empty dicts, as the parallel API says
# (observations, rewards, terminations, truncations, infos), or raises.
# Seen: turn_based_aec_to_parallel(tictactoe).step({}) returns a tuple of four empty dicts when agents is empty. Code
# that unpacks five values fails at the end of an episode with "not enough values to unpack (expected 5, got 4)".
# A parallel env that is no conversion (simple_spread of mpe2 1.1.1) returns five.
#
# Output seen:
#   agents left: []
#   the converted game returns 4 dicts
#   simple_spread returns 5 dicts
#
# Needs Python 3.10 to 3.13 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pettingzoo==1.27.0 mpe2==1.1.1 gymnasium==1.2.3 pygame==2.6.1 numpy==2.2.6
SDL_VIDEODRIVER=dummy "$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
from mpe2 import simple_spread_v3
from pettingzoo.classic import tictactoe_v3
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

env = turn_based_aec_to_parallel(tictactoe_v3.raw_env())
observations, infos = env.reset(seed=1)
while env.agents:
    legal = {agent: next(i for i, ok in enumerate(observations[agent]["action_mask"]) if ok)
             if observations[agent]["action_mask"].any() else 0 for agent in env.agents}
    observations = env.step(legal)[0]
print("agents left:", env.agents)
print("the converted game returns", len(env.step({})), "dicts")

spread = simple_spread_v3.parallel_env(max_cycles=1)
spread.reset(seed=1)
spread.step({agent: 0 for agent in spread.agents})
print("simple_spread returns", len(spread.step({})), "dicts")
PYTHON
diff "$folder/output" - <<'EXPECTED'
agents left: []
the converted game returns 4 dicts
simple_spread returns 5 dicts
EXPECTED
