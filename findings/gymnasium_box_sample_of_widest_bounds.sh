#!/usr/bin/env bash
# Gymnasium 1.4.0: a Box with the widest bounds of its dtype samples a constant, or cannot be sampled, for 64 bits.
#
# Guess before the run: Box.sample() draws evenly between the bounds for each dtype, so a Box from the least to the
# greatest value of its dtype, as envs write it for "any number", gives values of all sizes.
# Seen: that holds for up to 32 bits. Of int64 each of 1000 samples is the least value, and of uint64 each is 0. Nothing
# is raised, and all samples are in the space. The upper half of uint64 raises a ValueError, and float64 an
# OverflowError, since the width of the interval is infinite. Without bounds (-inf to inf) float64 works.
#
# Output seen:
#   uint8: 1000 values, smaller and larger halves
#   int32: 1000 values, smaller and larger halves
#   float32: 1000 values, smaller and larger halves
#   int64: 1 value, -9223372036854775808
#   uint64: 1 value, 0
#   uint64 from 2**63: ValueError: high - low < 0
#   float64: OverflowError: Range exceeds valid bounds
#   float64 from -1e308 to 1e308: OverflowError: Range exceeds valid bounds
#   float64 without bounds: 1000 values
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-python3.12}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import numpy as np
from gymnasium.spaces import Box


def samples(low, high, dtype):
    """1000 samples of a Box of three numbers, each seen to be in the space."""
    space = Box(low, high, (3,), dtype, seed=1)
    drawn = [space.sample() for _ in range(1000)]
    assert all(space.contains(each) for each in drawn)
    return np.array(drawn)


for dtype in (np.uint8, np.int32, np.float32, np.int64, np.uint64):
    info = np.finfo(dtype) if dtype is np.float32 else np.iinfo(dtype)
    drawn = samples(info.min, info.max, dtype)
    if len(np.unique(drawn)) == 1:
        print(f"{np.dtype(dtype)}: 1 value, {drawn[0, 0]}")
        continue
    middle = float(info.min) / 2 + float(info.max) / 2
    assert 1000 < np.count_nonzero(drawn < middle) < 2000
    print(f"{np.dtype(dtype)}: {len(drawn)} values, smaller and larger halves")

widest = np.finfo(np.float64)
for words, low, high, dtype in (
    ("uint64 from 2**63", 2**63, 2**64 - 1, np.uint64),
    ("float64", widest.min, widest.max, np.float64),
    ("float64 from -1e308 to 1e308", -1e308, 1e308, np.float64),
    ("float64 without bounds", -np.inf, np.inf, np.float64),
):
    try:
        print(f"{words}: {len(samples(low, high, dtype))} values")
    except (ValueError, OverflowError) as error:
        print(f"{words}: {type(error).__name__}: {error}")
PYTHON
diff "$folder/output" - <<'EXPECTED'
uint8: 1000 values, smaller and larger halves
int32: 1000 values, smaller and larger halves
float32: 1000 values, smaller and larger halves
int64: 1 value, -9223372036854775808
uint64: 1 value, 0
uint64 from 2**63: ValueError: high - low < 0
float64: OverflowError: Range exceeds valid bounds
float64 from -1e308 to 1e308: OverflowError: Range exceeds valid bounds
float64 without bounds: 1000 values
EXPECTED
