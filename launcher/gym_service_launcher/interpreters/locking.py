"""From what is installed in a venv to exact versions with hashes.

Knows uv, which looks up the hashes, and where packages come from that come from no index. Never knows the form of
envs.lock (``config/lock.py``). Python 3.10 and up.

A package is locked with the hashes of all its files on the index, so the lock also serves other machines of other
kinds. The index is left out: the options of envs.toml and of the installer name it.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_service_launcher.config.lock import LockedPackage, LockedVenv
from gym_service_launcher.errors import ServerStartError
from gym_service_launcher.interpreters import discovery, venvs
from gym_service_launcher.interpreters.venv_spec import VenvSpec
from gym_service_launcher.interpreters.venvs import Venv
from gym_service_launcher.standalone import installers
from gym_service_launcher.standalone.build_commands import BuildFailed, Commands
from gym_service_launcher.standalone.installed_packages import canonical

# Options about where packages are found. The others are about what is installed, which is decided by now.
INDEX_OPTIONS = ("--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host", "--index-strategy")
READ_BYTES = 1 << 20
PIN = re.compile(r"^([\w.-]+)==\S+((?:\s*\\?\s+--hash=\S+)*)", re.MULTILINE)
HASH = re.compile(r"--hash=(\S+)")


def locked_venv(spec: VenvSpec, venv: Venv) -> LockedVenv:
    """The lock of a venv that was inspected. Blocks while uv asks the index for the hashes.

    Raises:
        ServerStartError: there is no uv, or the index does not have a version that is installed.
    """
    outside = {name: _locked_source(name, venv, source) for name, source in venv.sources.items()}
    pins = {name: version for name, version in venv.packages.items() if name not in outside}
    hashes = _hashes(spec, venv, pins) if pins else {}
    indexed = {name: LockedPackage(version, hashes.get(name, ())) for name, version in pins.items()}
    return LockedVenv(
        recipe=spec.digest,
        python=venv.version or "",
        platform=venv.platform,
        installer=str(venv.marker.get("installer", "uv")),
        packages={**indexed, **outside},
    )


def _locked_source(name: str, venv: Venv, source: Mapping[str, Any]) -> LockedPackage:
    """A package that came from no index, by its ``direct_url.json`` (PEP 610)."""
    version, url = venv.packages[name], str(source.get("url", ""))
    part = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
    if "vcs_info" in source:
        vcs = source["vcs_info"]
        return LockedPackage(version, (), f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}{part}")
    if url.startswith("file:") or "dir_info" in source:
        return LockedPackage(version, (), "local")
    archive = source.get("archive_info", {})
    hashes = archive.get("hashes") or dict([archive["hash"].split("=", 1)] if archive.get("hash") else [])
    return LockedPackage(version, tuple(f"{kind}:{digits}" for kind, digits in hashes.items()), f"{name} @ {url}{part}")


def _hashes(spec: VenvSpec, venv: Venv, pins: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The hashes of each pinned version, by canonical name."""
    uv = discovery.find_uv()
    if uv is None:
        text = f"the versions of {spec.whose} cannot be locked: uv looks up their hashes, and is not installed"
        raise ServerStartError(f"{text}\n  try: pip install uv", argv=(), interpreter=spec.python)
    options = [option for option in spec.requirements.options if option[0] in INDEX_OPTIONS]
    with tempfile.TemporaryDirectory(prefix="gym-service-lock-") as folder:
        asked, answer = Path(folder, "pins.txt"), Path(folder, "hashes.txt")
        asked.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        command = [*uv, "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header", "--no-annotate"]
        command += ["--python-version", str(venv.version), "--output-file", str(answer)]
        # Without it uv runs each Python on PATH until one fits, which takes seconds. A remote host's is not here.
        command += ["--python", str(venv.python)] if venv.python.exists() else []
        command += installers.uv_words(options)
        try:
            Commands(str(spec.folder), lambda line: None).run([*command, str(asked)])
        except BuildFailed as error:
            raise venvs.build_error(
                spec, f"its versions cannot be locked: {error}", error.argv, error.exit_code, error.tail
            ) from error
        found = {canonical(name): HASH.findall(hashes) for name, hashes in PIN.findall(answer.read_text())}
    for name in [name for name in pins if not found.get(name)]:  # uv gives none for the files of a folder
        found[name] = _hashes_of_files(spec, name, pins[name])
        if not found[name]:
            raise venvs.build_error(spec, f"{name} {pins[name]} cannot be locked: the index has no hash of it")
    return {name: tuple(sorted(hashes)) for name, hashes in found.items()}


def _hashes_of_files(spec: VenvSpec, name: str, version: str) -> list[str]:
    """The hashes of a version in the folders of ``--find-links``."""
    folders = [option[1] for option in spec.requirements.options if option[0] == "--find-links"]
    files = [file for folder in folders for file in (spec.folder / os.path.expanduser(folder)).glob("*")]
    return [f"sha256:{_sha256(file)}" for file in files if _name_and_version(file.name) == (name, version)]


def _name_and_version(file_name: str) -> tuple[str, str] | None:
    """What a wheel or a source archive is of, by its name."""
    if file_name.endswith(".whl"):
        name, version = file_name.split("-")[:2]
        return canonical(name), version
    stem = file_name.removesuffix(".zip").removesuffix(".tar.gz")
    name, dash, version = stem.rpartition("-")
    return (canonical(name), version) if dash and stem != file_name else None


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while data := content.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
