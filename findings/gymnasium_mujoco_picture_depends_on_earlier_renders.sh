#!/usr/bin/env bash
# Gymnasium 1.4.0 with mujoco 3.8.1: the picture of a MuJoCo env depends on whether earlier steps were rendered.
#
# Guess before the run: render() shows the state, so after the same seed and the same 50 actions HalfCheetah-v5 gives the
# same picture, whether it was rendered before or not.
# Seen: the states are equal bit for bit, and most pixels of the two pictures differ. The camera of the env follows the
# robot smoothly: each render() moves it a part of the way. So the last picture shows where the camera is after 50
# renders in one env, and after one render in the other. Pictures of a run that records a video, as observations of
# pixels or as frames of a data set, are not those of a run that renders now and then.
#
# Output seen:
#   states alike: True
#   pictures alike without earlier renders in either: True
#   pictures alike, one with a render after every step: False
#   more than half of the pixels differ: True
#
# Needs Python 3.12, PyPI and EGL. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 mujoco==3.8.1 numpy==2.5.5 imageio==2.37.2 packaging==26.0
MUJOCO_GL=egl "$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gymnasium
import numpy as np


def played(renders_each_step):
    env = gymnasium.make("HalfCheetah-v5", render_mode="rgb_array")
    observation, _ = env.reset(seed=5)
    chance = np.random.default_rng(5)
    for _ in range(50):
        observation, *_ = env.step(chance.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        if renders_each_step:
            env.render()
    picture = env.render()
    env.close()
    return observation, picture


state, picture = played(False)
again, picture_again = played(False)
other, picture_other = played(True)
print("states alike:", np.array_equal(state, again) and np.array_equal(state, other))
print("pictures alike without earlier renders in either:", np.array_equal(picture, picture_again))
print("pictures alike, one with a render after every step:", np.array_equal(picture, picture_other))
print("more than half of the pixels differ:", bool((picture != picture_other).any(axis=2).mean() > 0.5))
PYTHON
diff "$folder/output" - <<'EXPECTED'
states alike: True
pictures alike without earlier renders in either: True
pictures alike, one with a render after every step: False
more than half of the pixels differ: True
EXPECTED
