#!/usr/bin/env bash
# EnvPool 1.2.7: many envs take max_episode_steps, show it in their spec and ignore it.
#
# Guess before the run: max_episode_steps=5 in envpool.make ends each episode of each env after 5 steps at the latest,
# as truncated, as the documentation of envpool.make says and as gymnasium.make does.
# Seen: the envs of classic control, Box2D, MuJoCo and MiniGrid do so, and those of some others. CliffWalking, Catch,
# all envs of highway-env and Procgen, 20 of the 27 of Jumanji and 10 of the 19 of PGX do not. They take the option,
# spec.config has the 5, and the episodes go on as before. Even the default can be ignored: lane-keeping-v0 has 200 in
# its spec, as in highway-env 1.12.1, and goes on for more than 1000 steps without a return or a reset. In Catch the end
# of the game comes later than this limit, and is then told as truncated, not as terminated, so a learner that
# bootstraps does so from a final state. Nothing is raised or warned of.
#
# Output seen, of first episodes of at most 1000 steps of the action 0:
#   CliffWalking-v1 of Gymnasium, limit 5: truncated at step 5
#   CartPole-v1 of EnvPool, limit 5: truncated at step 5
#   MiniGrid-Empty-8x8-v0 of EnvPool, limit 5: truncated at step 5
#   CliffWalking-v1 of EnvPool, limit 5: no end
#   Jumanji/Maze-v0 of EnvPool, limit 5: terminated at step 100
#   exit-v0 of EnvPool, limit 5: truncated at step 18
#   Catch-v0 of EnvPool, limit 5: truncated at step 9
#   Catch-v0 of EnvPool, limit 2147483647: terminated at step 9
#   lane-keeping-v0 of highway-env, limit 200: truncated at step 200
#   lane-keeping-v0 of EnvPool, limit 200: no end
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet envpool==1.2.7 highway-env==1.12.1 gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import envpool
import gymnasium
import highway_env  # noqa: F401 - it registers the envs
import numpy as np


def ends(envs, space):
    """When and how the first episode of a batch of one env ends."""
    envs.reset()
    actions = np.zeros((1, *space.shape), space.dtype)
    for step in range(1, 1001):
        _, _, terminated, truncated, _ = envs.step(actions)
        if terminated[0] or truncated[0]:
            return f"{'terminated' if terminated[0] else 'truncated'} at step {step}"
    return "no end"


def upstream(library, name, **options):
    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(name, **options)])
    limit = envs.envs[0].spec.max_episode_steps
    print(f"{name} of {library}, limit {limit}: {ends(envs, envs.single_action_space)}")


def pooled(name, **options):
    envs = envpool.make_gymnasium(name, num_envs=1, seed=0, **options)
    limit = envs.spec.config.max_episode_steps
    print(f"{name} of EnvPool, limit {limit}: {ends(envs, envs.action_space)}")


upstream("Gymnasium", "CliffWalking-v1", max_episode_steps=5)
for name in ("CartPole-v1", "MiniGrid-Empty-8x8-v0", "CliffWalking-v1", "Jumanji/Maze-v0", "exit-v0", "Catch-v0"):
    pooled(name, max_episode_steps=5)
pooled("Catch-v0")
upstream("highway-env", "lane-keeping-v0")
pooled("lane-keeping-v0")
PYTHON
diff "$folder/output" - <<'EXPECTED'
CliffWalking-v1 of Gymnasium, limit 5: truncated at step 5
CartPole-v1 of EnvPool, limit 5: truncated at step 5
MiniGrid-Empty-8x8-v0 of EnvPool, limit 5: truncated at step 5
CliffWalking-v1 of EnvPool, limit 5: no end
Jumanji/Maze-v0 of EnvPool, limit 5: terminated at step 100
exit-v0 of EnvPool, limit 5: truncated at step 18
Catch-v0 of EnvPool, limit 5: truncated at step 9
Catch-v0 of EnvPool, limit 2147483647: terminated at step 9
lane-keeping-v0 of highway-env, limit 200: truncated at step 200
lane-keeping-v0 of EnvPool, limit 200: no end
EXPECTED
