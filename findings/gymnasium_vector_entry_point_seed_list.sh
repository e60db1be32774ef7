#!/usr/bin/env bash
# Gymnasium 1.4.0: make_vec takes a list of seeds for CartPole-v1 in two of its three vectorization modes.
#
# Guess before the run: reset(seed=[3, 4]) seeds each env of gymnasium.make_vec("CartPole-v1", 2), and the first
# observations are the same whichever vectorization_mode is asked for.
# Seen: "sync" and "async" take the list, and their observations are equal. "vector_entry_point" raises an Error from
# the seeding of one generator for the whole batch. That mode is the default of make_vec for CartPole-v1, so the list
# that works for any other env fails for it. With seed=3 the first observations differ by the mode, too.
#
# Output seen:
#   sync: two seeds give (2, 4)
#   async: two seeds give (2, 4)
#   vector_entry_point: Error: Seed must be a python integer, actual type: <class 'list'>
#   the default is that of: CartPoleVectorEnv
#   seed=3, sync and vector_entry_point alike: False
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gymnasium
import numpy as np


def observations(mode, seed):
    envs = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode=mode)
    try:
        return envs.reset(seed=seed)[0]
    finally:
        envs.close()


for mode in ("sync", "async", "vector_entry_point"):
    try:
        print(f"{mode}: two seeds give {observations(mode, [3, 4]).shape}")
    except gymnasium.error.Error as error:
        print(f"{mode}: {type(error).__name__}: {error}")
envs = gymnasium.make_vec("CartPole-v1", 2)
print(f"the default is that of: {type(envs.unwrapped).__name__}")
alike = np.array_equal(observations("sync", 3), observations("vector_entry_point", 3))
print(f"seed=3, sync and vector_entry_point alike: {alike}")
PYTHON
diff "$folder/output" - <<'EXPECTED'
sync: two seeds give (2, 4)
async: two seeds give (2, 4)
vector_entry_point: Error: Seed must be a python integer, actual type: <class 'list'>
the default is that of: CartPoleVectorEnv
seed=3, sync and vector_entry_point alike: False
EXPECTED
