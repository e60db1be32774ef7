"""Checks of values of envs.toml that say where an interpreter or a server is.

Knows the spellings of interpreters, of paths on the remote side, of addresses and of fingerprints. Never knows whether
anything is there. Python 3.10 and up.
"""

import os
import re
from numbers import Real
from pathlib import Path

from gym_service_launcher.config.validation import (
    TEXT,
    Location,
    accepts,
    list_of,
    one_or_more,
    path,
    shown,
    text,
    type_error,
)

ADDRESS = re.compile(r"unix:///.+|tcp://(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
SSH_URL = re.compile(
    r"ssh://(?P<destination>(?:[^\s@:/-][^\s@:/]*@)?(?:[^\s@:/\[\]-][^\s@:/\[\]]*|\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]))"
    r"(?::(?P<port>\d{1,5}))?/(?P<path>.+)"
)
FINGERPRINT = re.compile("[0-9a-f]{64}")


@accepts(TEXT)
def python(value: object, location: Location) -> str:
    """A version, ``conda:NAME``, a command or an ssh:// address, unchanged; or a path, made absolute."""
    if isinstance(value, os.PathLike):
        return str(path(value, location))
    if isinstance(value, Real) and not isinstance(value, bool):
        # TOML reads an unquoted 3.10 as the number 3.1, so the text cannot repeat what the user wrote.
        raise type_error(value, 'a string: put a version in quotes, such as "3.10"', location)
    name = text(value, location)
    if name.startswith("ssh:"):
        return ssh_url(name, location)
    if ("/" in name and not name.startswith("conda:")) or name[0] in ".~":
        return str(location.absolute(name))
    return name


def ssh_url(value: str, location: Location) -> str:
    match = SSH_URL.fullmatch(value)
    if not match or int(match["port"] or 1) not in range(1, 65536):
        raise location.error(f"{shown(value)} is not an address; expected ssh://user@host:port/path/to/venv")
    return value


@accepts(TEXT)
def remote_python(value: object, location: Location) -> str:
    """An interpreter on the remote side of a command, unchanged: it is not looked for on this machine."""
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if "/" in path else f"./{path}"
    name = python(value, location) if isinstance(value, Real) else text(value, location)
    if name.startswith("ssh:"):
        return ssh_url(name, location)
    if name.startswith("conda:"):
        raise location.error(
            f"{shown(name)} works on this machine only; expected the path of its bin/python on the remote side"
        )
    return name


@accepts(TEXT)
def remote_path(value: object, location: Location) -> Path:
    """A path on the remote side, unchanged: relative paths and ``~`` are resolved there."""
    return Path(text(os.fspath(value) if isinstance(value, os.PathLike) else value, location))


remote_paths = list_of(remote_path, "a list of folders")


remote_scripts = one_or_more(remote_path, "a script, or a list of scripts")


@accepts(TEXT)
def address(value: object, location: Location) -> str:
    match = ADDRESS.fullmatch(text(value, location))
    if not match or int(match["port"] or 1) not in range(1, 65536):
        raise location.error(f"{shown(value)} is not an address; expected unix:///path or tcp://host:port")
    return str(value)


@accepts(TEXT)
def fingerprint(value: object, location: Location) -> str:
    """A SHA-256: 64 hex digits, or the output of ``openssl x509 -fingerprint -sha256`` with its prefix and colons."""
    digits = text(value, location).rpartition("=")[2].replace(":", "").strip().lower()
    if not FINGERPRINT.fullmatch(digits):
        expected = "64 hex digits, as gym-service run prints them"
        raise location.error(f"{shown(value)} is not the SHA-256 of a certificate; expected {expected}")
    return digits
