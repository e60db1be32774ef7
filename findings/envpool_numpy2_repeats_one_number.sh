#!/usr/bin/env bash
# EnvPool 0.8.4 with NumPy 2.2.6: every number of an array is the array's first one.
#
# Guess before the run: on Python 3.10, where pip chooses these two for "envpool", CartPole-v1 gives an observation of
# four numbers for each of its envs, other ones for each env, as with NumPy 1.26.4; or the import fails, as that of
# other extension modules built for NumPy 1 does.
# Seen: import, make, reset and step raise nothing and warn of nothing, shapes and dtypes are right, and all values lie
# in the observation space. But the strides are zero: the first number of the first env stands in all places, so all
# envs look alike and position, speed, angle and turning speed are one number. Rewards, ends and info are repeated in
# the same way, so all envs seem to end when the first one does. NumPy 1.26.4 gives what was guessed, and so does
# EnvPool 1.2.7 on newer Pythons.
#
# Output seen, of two envs:
#   NumPy 2.2.6: shape (2, 4) float32, strides (0, 0), 1 different number, in the space: True, env_id [0, 0]
#   NumPy 1.26.4: shape (2, 4) float32, strides (16, 4), 8 different numbers, in the space: True, env_id [0, 1]
#
# Needs Python 3.10 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.10.*/bin/python" | tail -n 1 || echo python3.10)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/look.py" <<'PYTHON'
import envpool
import numpy as np

envs = envpool.make_gymnasium("CartPole-v1", num_envs=2, seed=3)
observations, info = envs.reset()
numbers = len(np.unique(observations))
inside = all(envs.observation_space.contains(each) for each in observations)
print(
    f"NumPy {np.__version__}: shape {observations.shape} {observations.dtype}, strides {observations.strides},",
    f"{numbers} different number{'s' * (numbers > 1)}, in the space: {inside}, env_id {info['env_id'].tolist()}",
)
PYTHON
for version in 2.2.6 1.26.4; do
  "$python" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet envpool==0.8.4 gymnasium==1.2.3 gym==0.26.2 numpy==$version
  "$folder/$version/bin/python" -W ignore "$folder/look.py" 2>"$folder/errors" || { cat "$folder/errors" && exit 1; }
done | tee "$folder/output"
diff "$folder/output" - <<'EXPECTED'
NumPy 2.2.6: shape (2, 4) float32, strides (0, 0), 1 different number, in the space: True, env_id [0, 0]
NumPy 1.26.4: shape (2, 4) float32, strides (16, 4), 8 different numbers, in the space: True, env_id [0, 1]
EXPECTED
