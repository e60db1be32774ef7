#!/usr/bin/env bash
# pypcd4 1.5.1: a coloured point cloud that is saved as an ASCII file is black when it is read.
#
# Guess before the run: each encoding of a PCD file gives back the points and the colours that were saved.
# Seen: PCD keeps the three bytes of a colour as the bits of a float. Those floats are tiny, and pypcd4 writes floats to
# an ASCII file with ten decimals, so each is 0. The file has an rgb field, and the points are right. The three binary
# encodings keep the colours. Any float below 5e-11 is lost in the same way. Nothing is raised.
#
# Output seen, of an orange, a white and a blue point:
#   ascii: points are the same True, colours (0, 0, 0) (0, 0, 0) (0, 0, 0)
#   binary: points are the same True, colours (255, 128, 1) (255, 255, 255) (0, 0, 255)
#   binary_compressed: points are the same True, colours (255, 128, 1) (255, 255, 255) (0, 0, 255)
#   binaryscompressed: points are the same True, colours (255, 128, 1) (255, 255, 255) (0, 0, 255)
#   last line of the ASCII file: 6.0000000000 7.0000000000 8.0000000000 0.0000000000
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pypcd4==1.5.1 numpy==2.5.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import numpy as np
from pypcd4 import Encoding, PointCloud

COLOURS = np.array([[255, 128, 1], [255, 255, 255], [0, 0, 255]], np.uint8)
POINTS = np.arange(9, dtype=np.float32).reshape(3, 3)

cloud = PointCloud.from_xyzrgb_points(np.column_stack([POINTS, PointCloud.encode_rgb(COLOURS)]))
for encoding in Encoding:
    cloud.save("cloud.pcd", encoding=encoding)
    read = PointCloud.from_path("cloud.pcd")
    colours = PointCloud.decode_rgb(read.pc_data["rgb"])
    points = np.array_equal(read.numpy(("x", "y", "z")), POINTS)
    print(f"{encoding.value}: points are the same {points}, colours", *(tuple(map(int, each)) for each in colours))
with open("cloud.pcd", "wb") as file:
    cloud.save(file, encoding=Encoding.ASCII)
print("last line of the ASCII file:", open("cloud.pcd").read().splitlines()[-1])
PYTHON
diff "$folder/output" - <<'EXPECTED'
ascii: points are the same True, colours (0, 0, 0) (0, 0, 0) (0, 0, 0)
binary: points are the same True, colours (255, 128, 1) (255, 255, 255) (0, 0, 255)
binary_compressed: points are the same True, colours (255, 128, 1) (255, 255, 255) (0, 0, 255)
binaryscompressed: points are the same True, colours (255, 128, 1) (255, 255, 255) (0, 0, 255)
last line of the ASCII file: 6.0000000000 7.0000000000 8.0000000000 0.0000000000
EXPECTED
