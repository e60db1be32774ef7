"""A simulator's repository that builds without an index. A test can stop its build at a known point.

Knows PEP 517. Python 3.10 and up.
"""

from pathlib import Path

# A small build backend, so that the build fetches nothing. If there is a pipe `gate`, it reads from it, so that a test
# can stop a build at a known point. If there is a file `broken`, it fails.
BACKEND = """
import os, zipfile
def build_wheel(directory, settings=None, metadata=None):
    here = os.path.dirname(os.path.abspath(__file__))
    if os.path.exists(os.path.join(here, "gate")):
        print("building", flush=True)
        open(os.path.join(here, "gate")).read()
    if os.path.exists(os.path.join(here, "broken")):
        raise SystemExit("this package cannot be built")
    with zipfile.ZipFile(os.path.join(directory, "their_repo-1.0-py3-none-any.whl"), "w") as wheel:
        wheel.write(os.path.join(here, "their_repo.py"), "their_repo.py")
        info = "their_repo-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: their-repo\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return "their_repo-1.0-py3-none-any.whl"
build_editable = build_wheel
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "their-repo"
version = "1.0"
"""


def write(repo: Path) -> Path:
    """Write the repository into a new folder. Returns the folder that contains it."""
    repo.mkdir(parents=True)
    (repo / "their_repo.py").write_text("ANSWER = 42\n")
    (repo / "backend.py").write_text(BACKEND)
    (repo / "pyproject.toml").write_text(PYPROJECT)
    return repo.parent
