#!/usr/bin/env bash
# ViZDoom 1.3.2: an episode that runs out of time is terminated, too, although it is to be treated as truncated.
#
# Guess before the run: with treat_episode_timeout_as_truncation=True, the default since 1.3.0, the time limit of a
# scenario gives terminated=False and truncated=True, as a TimeLimit of Gymnasium does, with the last state as
# observation. An end by the game gives terminated=True.
# Seen: at the time limit both are True; the option changes the second only. A learner that reads terminated, or takes
# for a time limit what is truncated and not terminated, as Stable-Baselines3 does, gives the last state a value of 0,
# as if the player had died. In health-gathering, where staying alive is the task and 2100 steps are the limit, that is
# the best end. The last observation is zeros in both kinds of ends, so there is nothing to take a value from. A
# TimeLimit one step before gives what was guessed. Nothing is raised or warned of.
#
# Output seen, of episodes in which no button is pressed:
#   VizdoomBasic-v1, out of time: step 300, terminated True, truncated True, picture of zeros
#   VizdoomMyWayHome-v1, out of time: step 2100, terminated True, truncated True, picture of zeros
#   VizdoomBasic-v1, out of time, option False: step 300, terminated True, truncated False, picture of zeros
#   VizdoomTakeCover-v1, dead: step 101, terminated True, truncated False, picture of zeros
#   VizdoomBasic-v1, TimeLimit of 299: step 299, terminated False, truncated True, picture of the game
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet vizdoom==1.3.2 gymnasium==1.4.0 numpy==2.5.5
cd "$folder"  # ViZDoom writes a file where it runs.
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gymnasium
from vizdoom import gymnasium_wrapper  # noqa: F401 - it registers the envs

NO_BUTTON = 0


def show(words, name, **options):
    """How the first episode ends, if no button is pressed."""
    env = gymnasium.make(name, **options)
    env.reset(seed=1)
    step, terminated, truncated = 0, False, False
    while not terminated and not truncated:
        observation, _, terminated, truncated, _ = env.step(NO_BUTTON)
        step += 1
    game = "the game" if observation["screen"].any() else "zeros"
    print(f"{name}, {words}: step {step}, terminated {terminated}, truncated {truncated}, picture of {game}")
    env.close()


show("out of time", "VizdoomBasic-v1")
show("out of time", "VizdoomMyWayHome-v1")
show("out of time, option False", "VizdoomBasic-v1", treat_episode_timeout_as_truncation=False)
show("dead", "VizdoomTakeCover-v1")
show("TimeLimit of 299", "VizdoomBasic-v1", max_episode_steps=299)
PYTHON
diff "$folder/output" - <<'EXPECTED'
VizdoomBasic-v1, out of time: step 300, terminated True, truncated True, picture of zeros
VizdoomMyWayHome-v1, out of time: step 2100, terminated True, truncated True, picture of zeros
VizdoomBasic-v1, out of time, option False: step 300, terminated True, truncated False, picture of zeros
VizdoomTakeCover-v1, dead: step 101, terminated True, truncated False, picture of zeros
VizdoomBasic-v1, TimeLimit of 299: step 299, terminated False, truncated True, picture of the game
EXPECTED
