#!/usr/bin/env bash
# Shimmy 2.0.1 with dm_control 1.0.41: the fps of a video is off by far, and a reward of 0.0 becomes the int 0.
#
# Guess before the run: metadata["render_fps"] of a dm_control task is 1 / control_timestep, and every reward is a float.
# Seen: render_fps is control_timestep * 1000. For cartpole swingup (0.01 s) that is 10 instead of 100; for humanoid
# (0.025 s) 25 instead of 40. RecordVideo writes that number into the file, so videos play at a tenth, or at five
# eighths, of the speed. And the reward goes through "or 0": a float64 0.0 arrives as the int 0, other rewards as floats.
#
# Output seen:
#   cartpole swingup: control_timestep 0.01, render_fps 10
#   humanoid stand: control_timestep 0.025, render_fps 25
#   dm_control gives 0.0 (float64), shimmy gives 0 (int)
#
# Needs Python 3.11 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.11}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet shimmy==2.0.1 dm_control==1.0.41 mujoco==3.8.1 gymnasium==1.2.3 numpy==2.2.6 imageio==2.37.0 packaging==25.0
MUJOCO_GL=disabled "$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import numpy as np
from dm_control import suite
from shimmy.dm_control_compatibility import DmControlCompatibilityV0

for domain, task in (("cartpole", "swingup"), ("humanoid", "stand")):
    raw = suite.load(domain, task, task_kwargs={"random": 1})
    env = DmControlCompatibilityV0(raw)
    print(f"{domain} {task}: control_timestep {raw.control_timestep():g}, render_fps {env.metadata['render_fps']:g}")

raw = suite.load("cartpole", "swingup_sparse", task_kwargs={"random": 1})
env = DmControlCompatibilityV0(suite.load("cartpole", "swingup_sparse", task_kwargs={"random": 1}))
raw.reset()
env.reset()
theirs, ours = raw.step(np.zeros(1)).reward, env.step(np.zeros(1))[1]
print(f"dm_control gives {theirs} ({type(theirs).__name__}), shimmy gives {ours} ({type(ours).__name__})")
PYTHON
diff "$folder/output" - <<'EXPECTED'
cartpole swingup: control_timestep 0.01, render_fps 10
humanoid stand: control_timestep 0.025, render_fps 25
dm_control gives 0.0 (float64), shimmy gives 0 (int)
EXPECTED
