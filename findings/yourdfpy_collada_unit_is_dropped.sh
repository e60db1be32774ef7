#!/usr/bin/env bash
# yourdfpy 0.0.60, trimesh 5.2.0: a Collada mesh in millimetres is a thousand times too large in the robot.
#
# Guess before the run: a Collada file names its unit, so the same box has the same size in the scene of the robot,
# whether the file is in metres, in millimetres or in inches. A URDF is in metres. The axis that the file says is up
# is up in the robot.
# Seen: trimesh reads the unit, keeps it as a name in scene.units, and leaves the numbers as they are. yourdfpy puts
# them into its scene as metres. A gripper of 80 mm is 80 m wide, so a collision check finds it in everything. The
# axis is dropped as well: where Y is up, the side along Y stays along Y and the robot has it lying. Nothing is
# raised.
#
# Output seen, of a box of 0.08 x 0.04 x 0.02 m, of which the sides along X, Y and Z are printed:
#   metres: trimesh 0.08 0.04 0.02 (meters), robot 0.08 0.04 0.02
#   millimetres: trimesh 80 40 20 (0.001 * meters), robot 80 40 20
#   inches: trimesh 3.15 1.57 0.787 (0.0254 * meters), robot 3.15 1.57 0.787
#   metres, Y up: trimesh 0.08 0.04 0.02 (meters), robot 0.08 0.04 0.02
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uv==0.13.9
"$folder/venv/bin/uv" pip install --quiet --no-cache --python "$folder/venv/bin/python" yourdfpy==0.0.60 \
    trimesh==5.2.0 pycollada==0.9.3 lxml==6.1.3 numpy==2.5.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import pathlib

import trimesh
import yourdfpy

COLLADA = """<?xml version="1.0" encoding="utf-8"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
  <asset>
    <created>2026-01-01T00:00:00</created><modified>2026-01-01T00:00:00</modified>
    <unit name="unit" meter="{unit}"/><up_axis>{up}_UP</up_axis>
  </asset>
  <library_geometries><geometry id="box"><mesh>
    <source id="corners">
      <float_array id="numbers" count="24">{corners}</float_array>
      <technique_common><accessor source="#numbers" count="8" stride="3">
        <param name="X" type="float"/><param name="Y" type="float"/><param name="Z" type="float"/>
      </accessor></technique_common>
    </source>
    <vertices id="vertices"><input semantic="POSITION" source="#corners"/></vertices>
    <triangles count="12"><input semantic="VERTEX" source="#vertices" offset="0"/><p>{faces}</p></triangles>
  </mesh></geometry></library_geometries>
  <library_visual_scenes><visual_scene id="scene">
    <node id="node"><instance_geometry url="#box"/></node>
  </visual_scene></library_visual_scenes>
  <scene><instance_visual_scene url="#scene"/></scene>
</COLLADA>"""
ROBOT = """<robot name="gripper"><link name="palm"><visual>
  <geometry><mesh filename="box.dae"/></geometry>
</visual></link></robot>"""
SIZE = (0.08, 0.04, 0.02)


def flat(rows):
    return " ".join(f"{value:.6g}" for row in rows for value in row)


def sizes(scene):
    return " ".join(f"{value:.3g}" for value in scene.extents)


def show(words, unit, up="Z"):
    """Write the box in a unit, and read it by itself and in a robot."""
    box = trimesh.creation.box([side / unit for side in SIZE])
    text = COLLADA.format(unit=unit, up=up, corners=flat(box.vertices), faces=flat(box.faces))
    pathlib.Path("box.dae").write_text(text)
    pathlib.Path("gripper.urdf").write_text(ROBOT)
    mesh = trimesh.load_scene("box.dae")
    robot = yourdfpy.URDF.load("gripper.urdf")
    print(f"{words}: trimesh {sizes(mesh)} ({mesh.units}), robot {sizes(robot.scene)}")


show("metres", 1)
show("millimetres", 0.001)
show("inches", 0.0254)
show("metres, Y up", 1, up="Y")
PYTHON
diff "$folder/output" - <<'EXPECTED'
metres: trimesh 0.08 0.04 0.02 (meters), robot 0.08 0.04 0.02
millimetres: trimesh 80 40 20 (0.001 * meters), robot 80 40 20
inches: trimesh 3.15 1.57 0.787 (0.0254 * meters), robot 3.15 1.57 0.787
metres, Y up: trimesh 0.08 0.04 0.02 (meters), robot 0.08 0.04 0.02
EXPECTED
