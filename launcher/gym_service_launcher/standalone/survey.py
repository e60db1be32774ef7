"""Run by path inside a target: prints what is installed there and the env ids that its modules register, as JSON.

Knows the metadata of packages, and the registries of gym and gymnasium. It imports the simulators in question, so it
runs in a separate process. Never knows gym-service. Standard library only, Python 3.6 and up.

The argument is JSON: ``imports`` (modules to import first), ``id`` and ``entry_point`` (the env to describe; may be
null), ``search`` (whether to import each package that needs gym or gymnasium, to find the ids that it registers).

Each stage prints one line with everything known so far. An import may end the process or take too long: the last line
then still holds the results of the earlier stages. The keys are those of ``interpreters/survey.py``.
"""

import glob
import importlib
import inspect
import json
import os
import pkgutil
import re
import sys
import time

LIBRARIES = ("gymnasium", "gym")
# The ids of gym-service are not a simulator's: they stand for interpreters such as this one.
OURS = "gym-service"
PLUGIN_GROUPS = ("gymnasium.envs", "gym.envs")
FIELD = re.compile(r"^(Name|Version): *(\S+)", re.MULTILINE)
NEEDS_GYM = re.compile(r"^(?:Requires-Dist: *)?gym(?:nasium)?(?![\w.-])", re.MULTILINE)
MODULE = re.compile(r"[A-Za-z_]\w*")
MESSAGE_CHARS = 2000


def main(task):
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or os.curdir) != here]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a simulator's output must not mix with the answer
    sys.argv[:] = [""]
    found = {"packages": {}, "modules": {}, "importable": [], "imports": [], "own": [], "ids": [], "found_in": {}}
    found.update({"failed": {}, "plugins": {}, "parameters": None, "render_modes": None, "names": None})
    found["python"] = "%d.%d.%d" % sys.version_info[:3]

    def tell():
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    candidates = read_packages(found)
    found["importable"] = sorted({module.name for module in pkgutil.iter_modules()})
    tell()
    libraries = [library for library in map(imported, LIBRARIES) if library]
    found["own"] = found["ids"] = registered_ids(libraries)
    for name in task["imports"]:
        found["imports"].append(outcome_of_import(name))
    found["ids"] = registered_ids(libraries)
    tell()
    describe(found, task, libraries)
    tell()
    for module in candidates if task["search"] else ():
        search(found, module, libraries)
        tell()


# -- packages ----------------------------------------------------------------------------------------------------------


def read_packages(found):
    """Fill in packages, modules and plugins. Returns the modules of the packages that need gym or gymnasium."""
    candidates = []
    for folder in filter(os.path.isdir, sys.path):
        for info in sorted(glob.glob(os.path.join(glob.escape(folder), "*-info"))):
            metadata = read(info, "METADATA") or read(info, "PKG-INFO")
            fields = dict(FIELD.findall(metadata[:4096]))
            if "Name" not in fields or fields["Name"] in found["packages"]:
                continue
            found["packages"][fields["Name"]] = fields.get("Version", "unknown")
            modules = modules_of(info)
            found["modules"].update(dict.fromkeys(modules, fields["Name"]))
            plugins = plugins_of(info)
            found["plugins"].update(plugins)
            is_simulator = NEEDS_GYM.search(metadata) or NEEDS_GYM.search(read(info, "requires.txt")) or plugins
            if is_simulator and fields["Name"].lower() not in (*LIBRARIES, OURS):
                candidates += [module for module in modules if not module.startswith("_")]
    return candidates


def read(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def modules_of(info):
    """The top-level modules of a package."""
    names = read(info, "top_level.txt").split()
    if not names:
        files = [line.split(",")[0] for line in read(info, "RECORD").splitlines()]
        names = {path.split("/")[0] for path in files if path.endswith(".py") and not path.startswith(".")}
        names = {name[:-3] if name.endswith(".py") else name for name in names}
    return sorted(name for name in names if MODULE.match(name) and MODULE.match(name).group() == name)


def plugins_of(info):
    """The entry points that older versions of Gymnasium load for ids: {"module:function": package}."""
    found, group = {}, ""
    for line in read(info, "entry_points.txt").splitlines():
        if line.startswith("["):
            group = line.strip("[] ")
        elif group in PLUGIN_GROUPS and "=" in line:
            found[line.partition("=")[2].split("[")[0].strip()] = os.path.basename(info).split("-")[0]
    return found


# -- imports and ids ---------------------------------------------------------------------------------------------------


def imported(name):
    try:
        return importlib.import_module(name)
    except Exception:  # noqa: BLE001 - whatever a package raises, its module cannot be used
        return None


def outcome_of_import(name):
    """{"name", "seconds", "error"}: the error as text, or null."""
    begin = time.monotonic()
    error = None
    try:
        importlib.import_module(name)
    except BaseException as raised:  # noqa: BLE001 - whatever a simulator raises, SystemExit too, is the outcome
        error = ("%s: %s" % (type(raised).__name__, raised))[:MESSAGE_CHARS]
    return {"name": name, "seconds": time.monotonic() - begin, "error": error}


def registered_ids(libraries):
    ids = set()
    for library in libraries:
        registry = library.envs.registration.registry
        ids.update(registry if isinstance(registry, dict) else registry.env_specs)
    return sorted(ids)


def search(found, module, libraries):
    """Record the ids that the import of a module registers, or why it cannot be imported."""
    before = set(registered_ids(libraries))
    error = outcome_of_import(module)["error"]
    if error:
        found["failed"][module] = error
    new = [name for name in registered_ids(libraries) if name not in before]
    if new:
        found["found_in"][module] = new


# -- the env that is asked about ---------------------------------------------------------------------------------------


def describe(found, task, libraries):
    """Fill in the parameters of the env's creator, and the content of an entry point's module."""
    module, _, name = (task["entry_point"] or "").partition(":")
    creator = None
    if module:
        holder = imported(module)
        found["names"] = None if holder is None else sorted(each for each in vars(holder) if not each.startswith("_"))
        creator = getattr(holder, name, None)
    elif task["id"]:
        creator = registered_creator(task["id"], libraries)
    if creator is None:
        return
    modes = (getattr(creator, "metadata", None) or {}).get("render_modes")
    found["render_modes"] = [str(mode) for mode in modes] if modes else None
    try:
        parameters = inspect.signature(creator).parameters.values()
    except (TypeError, ValueError):
        return
    found["parameters"] = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def registered_creator(env_id, libraries):
    module, _, env_id = env_id.rpartition(":")
    if module:
        imported(module)
    for library in libraries:
        registry = library.envs.registration.registry
        specs = registry if isinstance(registry, dict) else registry.env_specs
        point = getattr(specs.get(env_id), "entry_point", None)
        if isinstance(point, str):
            module, _, name = point.partition(":")
            point = getattr(imported(module), name, None)
        if point is not None:
            return point
    return None


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
