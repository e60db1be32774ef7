#!/usr/bin/env bash
# NumPy 2.5.5 and 1.26.4 with Gymnasium 1.4.0: a pickled space that was sampled once is not loaded by the older NumPy.
#
# Guess before the run: what NumPy 2 pickles, NumPy 1.26 loads. So it is for arrays, dtypes and numbers, for which 1.26
# has the new module names; and the classes of the random generators have the same names in both.
# Seen: a space that was never sampled is loaded, and the same space after one sample() is not: it then holds a
# generator, and NumPy 1.26 raises a ValueError that names a BitGenerator, not the space. So whether a checkpoint with
# spaces, or an env that was reset, can be read by a simulator's older interpreter depends on what was done with it. The
# state of the generator, a dict, is loaded, and so is everything in the other direction.
#
# Output seen:
#   written by NumPy 2.5.5, read by NumPy 1.26.4
#   array: loaded
#   space: loaded
#   sampled space: ValueError: <class 'numpy.random._pcg64.PCG64'> is not a known BitGenerator module.
#   env after reset: ValueError: <class 'numpy.random._pcg64.PCG64'> is not a known BitGenerator module.
#   state of a generator: loaded
#   written by NumPy 1.26.4, read by NumPy 2.5.5
#   array: loaded
#   space: loaded
#   sampled space: loaded
#   env after reset: loaded
#   state of a generator: loaded
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 2.5.5 1.26.4; do
  "$python" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet gymnasium==1.4.0 numpy==$version
done
cat >"$folder/write.py" <<'PYTHON'
import pickle
import sys

import gymnasium
import numpy as np

space = gymnasium.spaces.Box(-1, 1, (2,))
pickles = {"array": pickle.dumps(np.arange(3.0)), "space": pickle.dumps(space)}
space.sample()
env = gymnasium.make("CartPole-v1").unwrapped
env.reset(seed=1)
pickles["sampled space"] = pickle.dumps(space)
pickles["env after reset"] = pickle.dumps(env)
pickles["state of a generator"] = pickle.dumps(env.np_random.bit_generator.state)
with open(sys.argv[1], "wb") as file:
    pickle.dump((np.__version__, pickles), file)
PYTHON
cat >"$folder/read.py" <<'PYTHON'
import pickle
import sys

import numpy as np

with open(sys.argv[1], "rb") as file:
    version, pickles = pickle.load(file)
print(f"written by NumPy {version}, read by NumPy {np.__version__}")
for name, data in pickles.items():
    try:
        pickle.loads(data)
        print(f"{name}: loaded")
    except ValueError as error:
        print(f"{name}: {type(error).__name__}: {error}")
PYTHON
for version in 2.5.5 1.26.4; do
  "$folder/$version/bin/python" -W ignore "$folder/write.py" "$folder/$version.pickle"
done
{
  "$folder/1.26.4/bin/python" -W ignore "$folder/read.py" "$folder/2.5.5.pickle"
  "$folder/2.5.5/bin/python" -W ignore "$folder/read.py" "$folder/1.26.4.pickle"
} | tee "$folder/output"
diff "$folder/output" - <<'EXPECTED'
written by NumPy 2.5.5, read by NumPy 1.26.4
array: loaded
space: loaded
sampled space: ValueError: <class 'numpy.random._pcg64.PCG64'> is not a known BitGenerator module.
env after reset: ValueError: <class 'numpy.random._pcg64.PCG64'> is not a known BitGenerator module.
state of a generator: loaded
written by NumPy 1.26.4, read by NumPy 2.5.5
array: loaded
space: loaded
sampled space: loaded
env after reset: loaded
state of a generator: loaded
EXPECTED
