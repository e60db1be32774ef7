#!/usr/bin/env bash
# SuperSuit 3.11.0: black_death_v3 adds a step to each episode, that ends it by failure and by time limit at once.
#
# Guess before the run: black_death_v3 gives agents that are gone zeros until all are. Where all agents stay until the
# time limit it changes nothing: as many steps, the last one truncated and not terminated.
# Seen: the real last step says that nothing has ended. A step follows that the environment never takes, with zeros for
# observations and rewards, and with terminated and truncated both set. A learner that bootstraps at a time limit sees
# an end by failure there, and a transition from the last picture into blackness. Through
# pettingzoo_env_to_vec_env_v1 the terminal_observation is zeros too. Nothing is raised.
#
# Output seen, of simple_spread_v3 with a time limit of 3 steps:
#   plain, step 1: sees something, reward -0.87, terminated False, truncated False
#   plain, step 2: sees something, reward -0.87, terminated False, truncated False
#   plain, step 3: sees something, reward -0.87, terminated False, truncated True
#   black death, step 1: sees something, reward -0.87, terminated False, truncated False
#   black death, step 2: sees something, reward -0.87, terminated False, truncated False
#   black death, step 3: sees something, reward -0.87, terminated False, truncated False
#   black death, step 4: sees zeros, reward 0.00, terminated True, truncated True
#   black death, as vector env: terminal observation is zeros: True
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --no-cache --python "$folder/venv/bin/python" supersuit==3.11.0 \
    pettingzoo==1.27.0 mpe2==1.1.1 gymnasium==1.4.0 pygame==2.6.1 numpy==2.5.5
export SDL_VIDEODRIVER=dummy PYGAME_HIDE_SUPPORT_PROMPT=1
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import supersuit
from mpe2 import simple_spread_v3

STAY = 0


def made():
    return simple_spread_v3.parallel_env(max_cycles=3)


def shown(observation, reward, terminated, truncated):
    seen = "sees something" if observation.any() else "sees zeros"
    return f"{seen}, reward {reward:.2f}, terminated {bool(terminated)}, truncated {bool(truncated)}"


for words, env in (("plain", made()), ("black death", supersuit.black_death_v3(made()))):
    env.reset(seed=0)
    agent = env.agents[0]
    step = 0
    while env.agents:
        step += 1
        values = env.step({each: STAY for each in env.agents})[:4]
        print(f"{words}, step {step}: {shown(*(value[agent] for value in values))}")
env = supersuit.pettingzoo_env_to_vec_env_v1(supersuit.black_death_v3(made()))
env.reset(seed=0)
infos = [{}]
while "terminal_observation" not in infos[0]:
    *_, infos = env.step([STAY] * env.num_envs)
print("black death, as vector env: terminal observation is zeros:", not infos[0]["terminal_observation"].any())
PYTHON
diff "$folder/output" - <<'EXPECTED'
plain, step 1: sees something, reward -0.87, terminated False, truncated False
plain, step 2: sees something, reward -0.87, terminated False, truncated False
plain, step 3: sees something, reward -0.87, terminated False, truncated True
black death, step 1: sees something, reward -0.87, terminated False, truncated False
black death, step 2: sees something, reward -0.87, terminated False, truncated False
black death, step 3: sees something, reward -0.87, terminated False, truncated False
black death, step 4: sees zeros, reward 0.00, terminated True, truncated True
black death, as vector env: terminal observation is zeros: True
EXPECTED
