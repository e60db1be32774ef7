#!/usr/bin/env bash
# Minari 0.5.4: an action array that its owner uses again is recorded with its last values, for every step.
#
# Guess before the run: DataCollector records an action as it was when step was called, as Gymnasium's envs take it.
# Replayed from the recorded seed, the recorded actions give the recorded observations.
# Seen: the collector keeps the array itself until the episode is over, and writes it then. A loop that fills one array
# for all steps, as loops do that read a joystick or a robot's controller, runs rightly, and records its last action in
# place of each. Observations and rewards are right, so the data set teaches a behaviour that nobody has shown. Episodes
# have a right form and length. Nothing is raised. A copy of the array for each step is recorded rightly.
#
# Output seen, of one episode of Pendulum-v1 with torques 0.5, 1.0, 1.5 and 2.0:
#   one array for all steps: recorded actions 2.0 2.0 2.0 2.0
#   recorded speeds -0.46 0.18 0.91 1.73 2.66
#   replayed speeds -0.46 0.41 1.29 2.19 3.15
#   a copy for each step: recorded actions 0.5 1.0 1.5 2.0
#   recorded speeds -0.46 0.18 0.91 1.73 2.66
#   replayed speeds -0.46 0.18 0.91 1.73 2.66
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --no-cache --python "$folder/venv/bin/python" "minari[create,hdf5]==0.5.4" \
    gymnasium==1.4.0 jax==0.12.0.1 jaxlib==0.12.0.1 h5py==3.16.0 pillow==12.0.0 numpy==2.5.5
export MINARI_DATASETS_PATH="$folder/datasets" JAX_PLATFORMS=cpu
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gymnasium
import minari
import numpy as np

ABOUT = {"algorithm_name": "script", "author": "nobody", "author_email": "nobody", "code_permalink": "none"}
SPEED = 2


def show(words, name, passed):
    """Record an episode, whose torques are written to one array, and replay what was recorded."""
    env = minari.DataCollector(gymnasium.make("Pendulum-v1", max_episode_steps=4))
    env.reset(seed=0)
    action = np.zeros(1, np.float32)
    for torque in (0.5, 1.0, 1.5, 2.0):
        action[0] = torque
        env.step(passed(action))
    dataset = env.create_dataset(name, ref_min_score=0.0, ref_max_score=1.0, **ABOUT)
    episode = dataset[0]
    print(f"{words}: recorded actions", *episode.actions.ravel())
    print("recorded speeds", *(f"{each[SPEED]:.2f}" for each in episode.observations))
    env = gymnasium.make("Pendulum-v1")
    observation, _ = env.reset(seed=0)
    replayed = [observation] + [env.step(each)[0] for each in episode.actions]
    print("replayed speeds", *(f"{each[SPEED]:.2f}" for each in replayed))


show("one array for all steps", "pendulum/one-v0", lambda action: action)
show("a copy for each step", "pendulum/copies-v0", np.copy)
PYTHON
diff "$folder/output" - <<'EXPECTED'
one array for all steps: recorded actions 2.0 2.0 2.0 2.0
recorded speeds -0.46 0.18 0.91 1.73 2.66
replayed speeds -0.46 0.41 1.29 2.19 3.15
a copy for each step: recorded actions 0.5 1.0 1.5 2.0
recorded speeds -0.46 0.18 0.91 1.73 2.66
replayed speeds -0.46 0.18 0.91 1.73 2.66
EXPECTED
