#!/usr/bin/env bash
# EnvPool 1.2.7: in FetchSlide more than four of ten goals hang in the air beyond the end of the table.
#
# Guess before the run: EnvPool's Fetch envs start as those of the same names in Gymnasium-Robotics 1.4.2 do, and goals
# come from the same range. So it is for FetchReach, FetchPush and FetchPickAndPlace.
# Seen: the model of FetchSlide-v4 is the same file, but gripper, puck and goals are half a meter further along the
# table: the robot's base stands where it does in FetchPush (at 0.4049, not 0.05). So goals reach beyond the table's
# end, where a puck falls to the floor and never comes to rest at a goal. Names, spaces, rewards and time limits are
# alike, and nothing is raised. Nearly half of the episodes can not be solved, whatever the policy, and one that is
# trained here has never seen the pucks and goals of Gymnasium-Robotics. FetchSlide-v1 and the Dense ones of EnvPool are
# alike.
#
# Output seen, of 200 episodes, x and height in meters:
#   FetchPush-v4, Gymnasium-Robotics: gripper at 1.36, goals from 1.2 to 1.5, 0 of 200 beyond 1.95
#   FetchPush-v4, EnvPool: gripper at 1.36, goals from 1.2 to 1.5, 0 of 200 beyond 1.95
#   FetchSlide-v4, Gymnasium-Robotics: gripper at 1.01, goals from 1.1 to 1.7, 0 of 200 beyond 1.95
#   FetchSlide-v4, EnvPool: gripper at 1.52, goals from 1.6 to 2.2, 88 of 200 beyond 1.95
#   EnvPool: height of the goals 0.42, of pucks that were pushed beyond the end 0.02
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet envpool==1.2.7 gymnasium-robotics==1.4.2 gymnasium==1.4.0 mujoco==3.8.1 \
    imageio==2.38.1 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import envpool
import gymnasium
import gymnasium_robotics
import numpy as np

gymnasium.register_envs(gymnasium_robotics)
EPISODES = 200
model = gymnasium.make("FetchSlide-v4").unwrapped.model
table = model.body("table0")
END = table.pos[0] + model.geom_size[table.geomadr[0]][0]


def show(name, source, observations, goals):
    """Where the gripper, which starts at one place, and the goals of some first observations are."""
    assert np.ptp(observations[:, 0]) < 1e-6
    x = goals[:, 0]
    where = f"gripper at {observations[0, 0]:.2f}, goals from {x.min():.1f} to {x.max():.1f}"
    print(f"{name}, {source}: {where}, {(x > END).sum()} of {EPISODES} beyond {END:.2f}")


for name in ("FetchPush-v4", "FetchSlide-v4"):
    env = gymnasium.make(name)
    resets = [env.reset(seed=seed)[0] for seed in range(EPISODES)]
    seen = {key: np.array([each[key] for each in resets]) for key in resets[0]}
    show(name, "Gymnasium-Robotics", seen["observation"], seen["desired_goal"])
    envs = envpool.make_gymnasium(name, num_envs=EPISODES, seed=0)
    seen, _ = envs.reset()
    show(name, "EnvPool", seen["observation"], seen["desired_goal"])

# The grippers push straight on, with those pucks that lie in front of them.
push = np.zeros((EPISODES, 4), np.float32)
push[:, 0] = 1
for _ in range(49):
    seen, _, terminated, truncated, _ = envs.step(push)
    assert not (terminated | truncated).any()
pucks, goals = seen["achieved_goal"], seen["desired_goal"]
heights = pucks[pucks[:, 0] > END, 2]
assert len(heights) > 0
assert np.ptp(heights) < 0.01
assert np.ptp(goals[:, 2]) < 0.01
print(f"EnvPool: height of the goals {goals[0, 2]:.2f}, of pucks that were pushed beyond the end {heights[0]:.2f}")
PYTHON
diff "$folder/output" - <<'EXPECTED'
FetchPush-v4, Gymnasium-Robotics: gripper at 1.36, goals from 1.2 to 1.5, 0 of 200 beyond 1.95
FetchPush-v4, EnvPool: gripper at 1.36, goals from 1.2 to 1.5, 0 of 200 beyond 1.95
FetchSlide-v4, Gymnasium-Robotics: gripper at 1.01, goals from 1.1 to 1.7, 0 of 200 beyond 1.95
FetchSlide-v4, EnvPool: gripper at 1.52, goals from 1.6 to 2.2, 88 of 200 beyond 1.95
EnvPool: height of the goals 0.42, of pucks that were pushed beyond the end 0.02
EXPECTED
