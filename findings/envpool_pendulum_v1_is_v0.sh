#!/usr/bin/env bash
# EnvPool 1.2.7: Pendulum-v1 moves as Pendulum-v0 did, faster than the speed that it shows.
#
# Guess before the run: a step of EnvPool's classic control envs gives what the same step gives in Gymnasium 1.4.0. So
# it is for CartPole-v1, MountainCar-v0, MountainCarContinuous-v0 and Acrobot-v1.
# Seen: it is so for Pendulum-v1 below the greatest speed of 8. At that speed the observation has 8, but the angle turns
# by the speed before it was clipped. That is what Gym's Pendulum-v0 did, and why there is a v1: it clips first. EnvPool
# has both names, its documentation points to that change (pull request 2423 of openai/gym), and both envs are alike bit
# for bit. A policy that spins the pendulum has a third of its steps there. A quarter of the episodes with random
# actions come there, too; the same actions end in other states and with other returns in Gymnasium. Nothing is raised.
#
# Output seen, of 100 episodes of 200 steps that push in the direction of the motion:
#   EnvPool's v0 and v1 are alike: True
#   steps below the greatest speed: like Gymnasium's
#   steps at the greatest speed, 34%: other than Gymnasium's
#   most radians in a step: EnvPool 0.45, Gymnasium 0.40, the greatest speed allows 0.40
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet envpool==1.2.7 gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import envpool
import gymnasium
import numpy as np

EPISODES, STEPS, SPEED, SECONDS = 100, 200, 8.0, 0.05


def angles(observations):
    return np.arctan2(observations[..., 1], observations[..., 0])


def turned(before, after):
    """By how many radians each step has turned the pendulum."""
    return (angles(after) - angles(before) + np.pi) % (2 * np.pi) - np.pi


def spun(name):
    """The observations of seeded episodes, in which full torque is applied in the direction of the motion."""
    envs = envpool.make_gymnasium(name, num_envs=EPISODES, seed=0)
    seen = [envs.reset()[0].copy()]
    for _ in range(STEPS):
        seen.append(envs.step(torque(seen[-1]))[0].copy())
    return np.array(seen)


def torque(observations):
    return np.where(observations[:, 2:] >= 0, 2, -2).astype(np.float32)


seen = spun("Pendulum-v1")
print("EnvPool's v0 and v1 are alike:", np.array_equal(seen, spun("Pendulum-v0")))

# Each of these steps again in Gymnasium, from the state that EnvPool has shown.
env = gymnasium.make("Pendulum-v1").unwrapped
env.reset(seed=0)
again = np.empty_like(seen[1:])
for step, observations in enumerate(seen[:-1]):
    for episode, action in enumerate(torque(observations)):
        env.state = np.array([angles(observations[episode]), observations[episode, 2]], float)
        again[step, episode] = env.step(action)[0]
alike = np.abs(again - seen[1:]).max(2) < 1e-5
fast = np.abs(seen[1:, :, 2]) == SPEED
assert np.array_equal(again[..., 2][fast], seen[1:, :, 2][fast])
print("steps below the greatest speed:", "like Gymnasium's" if alike[~fast].all() else "other than Gymnasium's")
words = "other than Gymnasium's" if not alike[fast].any() else "like Gymnasium's" if alike[fast].all() else "both"
print(f"steps at the greatest speed, {fast.mean():.0%}: {words}")
most = [np.abs(turned(seen[:-1], after)).max() for after in (seen[1:], again)]
print(
    f"most radians in a step: EnvPool {most[0]:.2f}, Gymnasium {most[1]:.2f},"
    f" the greatest speed allows {SPEED * SECONDS:.2f}"
)
PYTHON
diff "$folder/output" - <<'EXPECTED'
EnvPool's v0 and v1 are alike: True
steps below the greatest speed: like Gymnasium's
steps at the greatest speed, 34%: other than Gymnasium's
most radians in a step: EnvPool 0.45, Gymnasium 0.40, the greatest speed allows 0.40
EXPECTED
