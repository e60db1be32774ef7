"""The interpreters of this machine, and files that can be executed in place of one. Python 3.10 and up."""

from pathlib import Path

from gym_service_launcher.interpreters.discovery import find_versions

PYTHONS = find_versions()
NEW_ENOUGH = [(version, path) for version, path in PYTHONS if not version.startswith("2.")]


def script(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file
