"""Make the pictures of the pages from the real program: captures of a terminal, and frames of a simulator.

    .venv/bin/python docs/scripts/pictures.py ./sim_env         # the simulator's venv of docs/quickstart.md

Writes docs/check*.svg, docs/list*.svg and docs/episode.png. Knows the commands whose output is shown. Draws nothing.
Needs rich and Pillow. Python 3.10 and up.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).absolute().parent.parent.parent
DOCS = ROOT / "docs"
COLUMNS = 80
WIDE_COLUMNS = 200
PROGRAM = [sys.executable, "-m", "gym_service"]
ENVS = """\
[envs."PushT-v0"]
python  = "./sim_env"
id      = "gym_pusht/PushT-v0"
imports = ["gym_pusht"]

[envs."PushTypo-v0"]
python  = "./sim_env"
id      = "gym_pusht/PushT-v0"
imports = ["gym_pushd"]
"""


def main(words: list[str]) -> int:
    if len(words) != 1:
        print(__doc__)
        return 2
    simulator = Path(words[0]).absolute()
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        lab = Path(name, "home/me/lab")
        lab.mkdir(parents=True)
        (lab / "sim_env").symlink_to(simulator)
        (lab / "envs.toml").write_text(ENVS)
        for command in ("check", "list"):
            for suffix, columns, more in (
                ("", COLUMNS, {}),
                ("-200", WIDE_COLUMNS, {}),
                ("-plain", COLUMNS, {"NO_COLOR": "1"}),
            ):
                shown = captured([*PROGRAM, command], lab, columns, more).replace(name, "")
                (DOCS / f"{command}{suffix}.svg").write_text(as_svg(f"gym-service {command}", shown, columns))
        record = ["record", "PushT-v0", "-o", str(DOCS / "episode.png"), "--steps", "60", "--seed", "1"]
        subprocess.run([*PROGRAM, *record], cwd=lab, check=True)
    return 0


def captured(command: list[str], folder: Path, columns: int, more: dict[str, str]) -> str:
    """What a command prints in a terminal of so many columns, with its colours. ``more``: environment variables."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", "HOME": str(folder.parent)}
    environment |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'launcher'}", "XDG_STATE_HOME": str(folder.parent / "state"), **more}
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        output = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux says so when the last process has closed its side
                break
            if not piece:
                break
            output += piece
    os.close(ours)
    return output.decode().replace("\r\n", "\n")


def as_svg(title: str, shown: str, columns: int) -> str:
    """A picture of a terminal. Fonts are those of the reader: rich would load one from another host."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=columns, file=nowhere)
        console.print(Text.from_ansi(shown.strip()))
        svg = console.export_svg(title=title, unique_id=title.replace(" ", "-"))
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
