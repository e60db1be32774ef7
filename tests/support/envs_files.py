"""Writes an envs.toml and reads it at once, or reads one entry of it.

Knows the launcher's envs_file. Python 3.10 and up.
"""

from pathlib import Path

from gym_service_launcher.config import envs_file
from gym_service_launcher.config.entry import Entry
from gym_service_launcher.errors import ConfigError


def loaded(folder: Path, toml: str) -> envs_file.EnvsFile:
    file = folder / "envs.toml"
    file.write_text(toml)
    return envs_file.load(file)


def an_entry(folder: Path, keys: str) -> Entry:
    entry = loaded(folder, f'[envs."X-v0"]\n{keys}').entries["X-v0"]
    assert isinstance(entry, Entry), str(entry)
    return entry


def an_error(folder: Path, toml: str, name: str = "X-v0") -> ConfigError:
    error = loaded(folder, toml).entries[name]
    assert isinstance(error, ConfigError)
    return error


def said(folder: Path, error: ConfigError) -> str:
    """The error's text without the file name that it must begin with."""
    file = str(folder / "envs.toml")
    assert error.__dict__["file"] == file
    text = str(error)
    assert text.startswith(f"{file}: ")
    return text.removeprefix(f"{file}: ")
