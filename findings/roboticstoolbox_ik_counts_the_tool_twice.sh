#!/usr/bin/env bash
# roboticstoolbox-python 1.5.0: ik_LM of a DH robot counts the tool twice, misses the pose, and says success.
#
# Guess before the run: ik_LM is the fast form of ikine_LM. Where it says success, fkine of its solution is the pose
# that was asked for, also for a robot with a tool. So it is for the ETS and URDF models of the Panda.
# Seen: not for robots of DH links, where only ikine_LM does so. The DH Panda comes with its hand as its tool. fkine of
# ik_LM's solution is the pose less the hand: 10 cm away, and turned by 45 degrees. A Puma with a tool of 20 cm misses
# by 20 cm, and without one it is right. success is True and the residual is small. Nothing is raised.
#
# Output seen:
#   ETS Panda: ikine_LM success True, misses by 0.00 m and 0 degrees
#   ETS Panda: ik_LM success True, misses by 0.00 m and 0 degrees
#   URDF Panda: ikine_LM success True, misses by 0.00 m and 0 degrees
#   URDF Panda: ik_LM success True, misses by 0.00 m and 0 degrees
#   DH Panda: ikine_LM success True, misses by 0.00 m and 0 degrees
#   DH Panda: ik_LM success True, misses by 0.10 m and 45 degrees
#   DH Puma: ikine_LM success True, misses by 0.00 m and 0 degrees
#   DH Puma: ik_LM success True, misses by 0.00 m and 0 degrees
#   DH Puma with a tool: ikine_LM success True, misses by 0.00 m and 0 degrees
#   DH Puma with a tool: ik_LM success True, misses by 0.20 m and 0 degrees
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --no-cache --python "$folder/venv/bin/python" roboticstoolbox-python==1.5.0 \
    rtb-data==2.0.0 spatialgeometry==1.4.2 spatialmath-python==1.1.18 scipy==1.18.1 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import numpy as np
from roboticstoolbox import models
from spatialmath import SE3


def show(words, robot):
    """Ask for the pose of some joint angles, starting from them."""
    joints = robot.qr + 0.1
    pose = robot.fkine(joints)
    for solver in ("ikine_LM", "ik_LM"):
        solution = getattr(robot, solver)(pose, q0=joints)
        reached = robot.fkine(solution.q)
        metres = np.linalg.norm(reached.t - pose.t)
        degrees = np.degrees((pose.inv() * reached).angvec()[0])
        missed = f"{metres:.2f} m and {degrees:.0f} degrees"
        print(f"{words}: {solver} success {bool(solution.success)}, misses by {missed}")


show("ETS Panda", models.ETS.Panda())
show("URDF Panda", models.URDF.Panda())
show("DH Panda", models.DH.Panda())
show("DH Puma", models.DH.Puma560())
puma = models.DH.Puma560()
puma.tool = SE3(0, 0, 0.2)
show("DH Puma with a tool", puma)
PYTHON
diff "$folder/output" - <<'EXPECTED'
ETS Panda: ikine_LM success True, misses by 0.00 m and 0 degrees
ETS Panda: ik_LM success True, misses by 0.00 m and 0 degrees
URDF Panda: ikine_LM success True, misses by 0.00 m and 0 degrees
URDF Panda: ik_LM success True, misses by 0.00 m and 0 degrees
DH Panda: ikine_LM success True, misses by 0.00 m and 0 degrees
DH Panda: ik_LM success True, misses by 0.10 m and 45 degrees
DH Puma: ikine_LM success True, misses by 0.00 m and 0 degrees
DH Puma: ik_LM success True, misses by 0.00 m and 0 degrees
DH Puma with a tool: ikine_LM success True, misses by 0.00 m and 0 degrees
DH Puma with a tool: ik_LM success True, misses by 0.20 m and 0 degrees
EXPECTED
