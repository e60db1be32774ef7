"""Lists what is installed in a venv: names, versions, and the source of packages that came from no index.

Reads the metadata beside the packages and starts no interpreter, so it takes some milliseconds. Never knows what the
packages are for. Standard library only, Python 3.6 and up: it runs on both sides of a command.
"""

import glob
import json
import os
import re

from gym_service_launcher.standalone import interrupts

# The name and the version are in the first lines of a package's metadata.
HEAD_BYTES = 4096
FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)


def canonical(name):
    """The name as an index compares it: ``Gym_PushT`` and ``gym-pusht`` are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(venv):
    """The version of each installed package, by its canonical name, in the order of the names."""
    return dict(sorted((name, version) for name, version, _ in _distributions(venv)))


def sources(venv):
    """The sources of packages that came from no index: their ``direct_url.json`` (PEP 610), by canonical name.

    Packages that an old pip installed with ``-e`` lack that file. Their source is ``{"dir_info": {"editable": true}}``.
    """
    found = {}
    for name, _, folder in _distributions(venv):
        if not folder.endswith("-info"):
            found[name] = {"dir_info": {"editable": True}}
            continue
        try:
            with open(os.path.join(folder, "direct_url.json"), encoding="utf-8") as file:
                found[name] = json.load(file)
        except (OSError, ValueError) as error:
            interrupts.raise_if_from_handler(error)
    return found


def changes(before, now):
    """The packages whose version differs: {name: [before, now]}; None means not installed."""
    names = sorted(set(before) | set(now))
    return {name: [before.get(name), now.get(name)] for name in names if before.get(name) != now.get(name)}


def _distributions(venv):
    """(canonical name, version, path of the metadata) of each package."""
    for folder in glob.glob(os.path.join(glob.escape(venv), "lib", "python*", "site-packages")):
        for entry in sorted(os.listdir(folder)):
            path = os.path.join(folder, entry)
            if entry.endswith((".dist-info", ".egg-info")):
                found = _name_and_version(path)
            elif entry.endswith(".egg-link"):
                found = _linked(path)
            else:
                continue
            if found:
                yield (*found, path)


def _name_and_version(info):
    """(canonical name, version) from a folder of metadata, or from a file that holds it."""
    for path in (os.path.join(info, "METADATA"), os.path.join(info, "PKG-INFO"), info):
        try:
            with open(path, "rb") as file:
                fields = dict(FIELD.findall(file.read(HEAD_BYTES).decode("utf-8", "replace")))
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            continue
        if "Name" in fields and "Version" in fields:
            return canonical(fields["Name"]), fields["Version"]
    return None


def _linked(link):
    """The path in an ``.egg-link``: its first line names the folder with the egg-info."""
    try:
        with open(link, encoding="utf-8", errors="surrogateescape") as file:
            folder = file.readline().strip()
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return None
    infos = sorted(glob.glob(os.path.join(glob.escape(folder), "*.egg-info")))
    return _name_and_version(infos[0]) if folder and infos else None
