#!/usr/bin/env bash
# Gymnasium 1.4.0: a masked reset of some envs of a vector env clears the statistics of the others, too.
#
# Guess before the run: with AutoresetMode.DISABLED, reset(options={"reset_mask": mask}) starts new episodes in the
# envs of the mask. The wrappers of gymnasium.wrappers.vector do the same: RecordEpisodeStatistics, whose reset() has
# code for the mask, and NormalizeReward keep what they have counted for the other envs.
# Seen: the inner vector env takes "reset_mask" out of the caller's dict. When the call comes back to the wrapper, the
# key is gone, and the wrapper takes the call for a full reset. So returns and lengths in info["episode"] are too small
# for each env that was in the middle of an episode: an episode of 4 steps is reported as one of 1. NormalizeReward
# does not look at the mask, and clears the discounted returns of all envs. Nothing is raised. And a dict of options
# that is kept for the next call resets all envs then, as it is empty. The same holds for AsyncVectorEnv. (Pull request
# 1696 of Gymnasium is to mend it.)
#
# Output seen, of envs with episodes of 4 and of 3 steps, where [3, 4, 3, 4] is right for both together:
#   alone: lengths reported [4, 4]
#   alone: lengths reported [3, 3]
#   SyncVectorEnv: lengths reported [3, 1, 2, 2]
#   AsyncVectorEnv: lengths reported [3, 1, 2, 2]
#   NormalizeReward before a reset of the second env: [3. 3.], after it: [0. 0.]
#   observations after a masked reset: [3, 0], the dict: {}
#   observations after a second one with the same dict: [0, 0], the dict: {}
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 numpy==2.5.5
cat >"$folder/masked.py" <<'PYTHON'
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics


class Counting(gymnasium.Env):
    """Its episodes have a given number of steps, and it observes how many it has taken."""

    observation_space = Box(0, 100, (1,), np.int64)
    action_space = Discrete(2)

    def __init__(self, steps):
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return np.array([0]), {}

    def step(self, action):
        self.taken += 1
        return np.array([self.taken]), 1.0, self.taken == self.steps, False, {}


def made(kind, *lengths):
    return kind([lambda n=n: Counting(n) for n in lengths], autoreset_mode=AutoresetMode.DISABLED)


def reported(envs, steps):
    """The lengths in info["episode"], in the order of the episodes' ends; each end is followed by a masked reset."""
    envs = RecordEpisodeStatistics(envs)
    envs.reset(seed=1)
    found = []
    for _ in range(steps):
        _, _, terminated, _, info = envs.step(np.zeros(envs.num_envs, int))
        if terminated.any():
            assert info["episode"]["r"].tolist() == info["episode"]["l"].tolist()
            found += info["episode"]["l"][terminated].tolist()
            envs.reset(options={"reset_mask": terminated})
    envs.close()
    return found


if __name__ == "__main__":
    for steps in (4, 3):
        print(f"alone: lengths reported {reported(made(SyncVectorEnv, steps), 8)}")
    for kind in (SyncVectorEnv, AsyncVectorEnv):
        print(f"{kind.__name__}: lengths reported {reported(made(kind, 4, 3), 8)}")

    envs = NormalizeReward(made(SyncVectorEnv, 9, 9), gamma=1.0)
    envs.reset(seed=1)
    for _ in range(3):
        envs.step(np.zeros(2, int))
    before = envs.accumulated_reward.copy()
    envs.reset(options={"reset_mask": np.array([False, True])})
    print(f"NormalizeReward before a reset of the second env: {before}, after it: {envs.accumulated_reward}")

    envs = made(SyncVectorEnv, 9, 9)
    envs.reset(seed=1)
    options = {"reset_mask": np.array([False, True])}
    for words in ("a masked reset", "a second one with the same dict"):
        for _ in range(3):
            envs.step(np.zeros(2, int))
        observations, _ = envs.reset(options=options)
        print(f"observations after {words}: {observations.ravel().tolist()}, the dict: {options}")
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/masked.py" | tee "$folder/output"
diff "$folder/output" - <<'EXPECTED'
alone: lengths reported [4, 4]
alone: lengths reported [3, 3]
SyncVectorEnv: lengths reported [3, 1, 2, 2]
AsyncVectorEnv: lengths reported [3, 1, 2, 2]
NormalizeReward before a reset of the second env: [3. 3.], after it: [0. 0.]
observations after a masked reset: [3, 0], the dict: {}
observations after a second one with the same dict: [0, 0], the dict: {}
EXPECTED
