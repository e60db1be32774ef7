"""The causes that a text alone does not decide: what the target holds is compared with what the entry asks for.

Knows ids, modules and keywords, and how they are misspelled. Each function judges one row of the table: it returns the
cause and the advice, or None if the row does not apply. Never knows how the target is asked (``survey.py``). Python
3.10 and up.
"""

import json
import re

from gym_service_launcher.interpreters.evidence import Evidence
from gym_service_launcher.interpreters.survey import Survey
from gym_service_launcher.spelling import misspelt, nearest

# A distribution whose name is not that of its module, with hyphens for underscores.
PACKAGE_OF = {
    "Box2D": "box2d",
    "OpenGL": "PyOpenGL",
    "PIL": "pillow",
    "ale_py": "ale-py",
    "cv2": "opencv-python-headless",
    "google.protobuf": "protobuf",
    "hydra": "hydra-core",
    "mpi4py": "mpi4py",
    "nle": "nle",
    "pkg_resources": "setuptools<81",
    "pybullet_envs": "pybullet",
    "pybullet_data": "pybullet",
    "retro": "stable-retro",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


# What was in the standard library, and the first Python without it.
REMOVED_MODULES = {
    **dict.fromkeys(("formatter", "parser", "symbol"), (3, 10)),
    **dict.fromkeys(("binhex",), (3, 11)),
    **dict.fromkeys(("asynchat", "asyncore", "distutils", "imp", "smtpd"), (3, 12)),
    **dict.fromkeys(("aifc", "audioop", "cgi", "cgitb", "chunk", "crypt", "imghdr", "lib2to3", "mailcap"), (3, 13)),
    **dict.fromkeys(("nntplib", "pipes", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"), (3, 13)),
}


def unregistered(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """An id that nobody registered: a plugin that is not read, a missing import, or a wrong id."""
    found = evidence.wide_survey
    if found is None:
        return None
    wanted = evidence.entry.id.rpartition(":")[2]
    ids = found.all_ids()
    if ids.get(wanted) == "":
        return None  # it is there, in the registry of another library
    if ids.get(wanted):
        return _needs_import(wanted, ids[wanted], found, evidence)
    near = found.nearest_id(wanted)
    if near is None:
        return _not_installed(wanted, found, evidence)
    if not ids[near]:
        return f"{evidence.place} has no id {wanted!r}; the nearest is {near!r}", f"id = {_quoted(near)}"
    cause = f"{evidence.place} has no id {wanted!r}; the nearest is {near!r}, which {ids[near]} registers"
    return cause, f"id = {_quoted(near)} and {_imports(evidence, ids[near])}"


def _not_installed(wanted: str, found: Survey, evidence: Evidence) -> tuple[str, str]:
    """An id that resembles no other one: its package is missing, or cannot be imported."""
    namespace = wanted.rpartition("/")[0]
    others = [env_id for env_id in found.all_ids() if env_id not in found.own]
    if namespace and not any(env_id.startswith(f"{namespace}/") for env_id in found.all_ids()):
        return _missing_namespace(wanted, namespace, found, evidence)
    cause = f"nothing in {evidence.place} registers {wanted!r}"
    if found.failed:
        module, error = next(iter(found.failed.items()))
        return f"{cause}, and {module} cannot be imported: {error}", _imports_and_check(evidence, module)
    what = f"it has {len(others)} ids of simulators" if others else "no package there registers ids of its own"
    advice = f"another id (gym-service ids {found.executable}), or imports with the module that registers it"
    return f"{cause}; {what}", advice


def _missing_namespace(wanted: str, namespace: str, found: Survey, evidence: Evidence) -> tuple[str, str]:
    """A namespace without ids. Which package has it is known only if a module has the same name."""
    cause = f"nothing in {evidence.place} registers {wanted!r}, or another id of the namespace {namespace!r}"
    if namespace in found.failed:
        error = found.failed[namespace]
        return f"{cause}, and {namespace} cannot be imported: {error}", _imports_and_check(evidence, namespace)
    if namespace in found.importable and namespace not in evidence.entry.imports:
        return f"{cause}; the module {namespace} is installed but not imported", _imports(evidence, namespace)
    advice = f"the package that registers {namespace}/…, installed there, with its module in imports"
    if found.failed:
        module, error = next(iter(found.failed.items()))
        cause += f", and {module} cannot be imported: {error}"
        advice += f"; or, if that is {module}, {_imports_and_check(evidence, module)}"
    return cause, advice


def _imports_and_check(evidence: Evidence, module: str) -> str:
    return f"{_imports(evidence, module)}, then gym-service check {evidence.entry.name}, which says why"


def _needs_import(env_id: str, module: str, found: Survey, evidence: Evidence) -> tuple[str, str]:
    is_plugin = any(point.partition(":")[0].split(".")[0] == module for point in found.plugins)
    if is_plugin and found.is_at_least("gymnasium", 1):
        cause = (
            f"{module} registers {env_id!r} by a plugin entry point, which gymnasium {found.version('gymnasium')} "
            "no longer reads"
        )
        return cause, _imports(evidence, module)
    cause = f"{env_id!r} is registered by the module {module}, which is installed but not imported"
    return cause, _imports(evidence, module)


def _imports(evidence: Evidence, module: str) -> str:
    return f"imports = {json.dumps([*evidence.entry.imports, module])}"


def missing_module(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """A module that is not there: misspelled in the entry, or not installed."""
    entry, missing = evidence.entry, match[1]
    top = missing.partition(".")[0]
    named = [*entry.imports, *([entry.entry_point.partition(":")[0]] if entry.entry_point else [])]
    asked = [name for name in named if name == missing or name.startswith(f"{missing}.")]
    found = evidence.survey
    if asked and (mistaken := _no_module_name(missing, evidence)):
        return mistaken
    gone = [str(path) for path in entry.pythonpath if not entry.is_remote and not path.exists()]
    if asked and gone:
        cause = f"the folder {gone[0]} of pythonpath does not exist"
        return cause, f"the right folder of {asked[0]} in pythonpath (relative paths start from {entry.folder})"
    if asked and found:
        near = misspelt(top, found.importable) or nearest(top, found.modules)
        key = "imports" if missing in entry.imports or asked[0] in entry.imports else "entry_point"
        if top in found.importable:
            cause = f"{top} is installed in {evidence.place}, but has no module {missing!r}"
            return cause, f"the name of a module of {top} in {key}"
        if near:
            cause = f"there is no module {top!r} in {evidence.place}; the nearest is {near!r}"
            if key == "imports":
                fixed = [near if name == top else name for name in entry.imports]
                return cause, f"imports = {json.dumps(fixed)}"
            return cause, f"entry_point = {_quoted((entry.entry_point or '').replace(top, near, 1))}"
    package = PACKAGE_OF.get(top, top.replace("_", "-"))
    if found is None and not entry.is_remote and not entry.address:
        return None
    whose = "" if asked or not named else f", and {named[0]} needs it"
    if found and not asked and (changed := _of_another_version(missing, whose, found, evidence)):
        return changed
    cause = f"the module {top!r} is not installed in {evidence.place}{whose}"
    advice = evidence.install(package)
    if asked and not entry.address:
        advice += f"; or name the folder of {top} in pythonpath = […], if it is your own"
    return cause, advice


def _no_module_name(name: str, evidence: Evidence) -> tuple[str, str] | None:
    """The name of a package or of a file, where the entry must have that of a module."""
    if "-" in name:
        kind, meant = "a package", name.replace("-", "_")
    elif name.endswith(".py"):
        kind, meant = "a file", name.removesuffix(".py")
    else:
        return None
    cause = f"{name!r} is the name of {kind}, and an import needs the name of a module"
    if name in evidence.entry.imports:
        return cause, f"imports = {json.dumps([meant if each == name else each for each in evidence.entry.imports])}"
    return cause, f"entry_point = {_quoted((evidence.entry.entry_point or '').replace(name, meant, 1))}"


def _of_another_version(missing: str, whose: str, found: Survey, evidence: Evidence) -> tuple[str, str] | None:
    """A module that another version of Python or of an installed package has."""
    top = missing.partition(".")[0]
    gone = REMOVED_MODULES.get(top)
    if gone and found.python and not found.is_python_before(*gone):
        cause = f"Python {found.python} has no module {top!r} any more{whose}"
        if top == "distutils":
            return cause, evidence.install("setuptools")  # it brings one
        return cause, f"a Python older than {gone[0]}.{gone[1]} for this simulator"
    if missing != top and top in found.importable:
        return _other_version(f"{_version_of(top, found)} in {evidence.place} has no module {missing!r}", top, found)
    return None


def missing_name(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """A name that another version of an installed package has."""
    name, module = match[1], match[2]
    top, found = module.partition(".")[0], evidence.survey
    if found is None or top not in found.modules or "circular import" in evidence.message:
        return None
    return _other_version(f"{_version_of(top, found)} in {evidence.place} has no {module}.{name}", top, found)


def _version_of(module: str, found: Survey) -> str:
    package = found.modules.get(module)
    return f"{package} {found.version(package)}" if package else module


def _other_version(lack: str, module: str, found: Survey) -> tuple[str, str]:
    package = found.modules.get(module, module)
    return f"{lack}: the simulator was written for another version", f"the version of {package} that it was written for"


def newer_annotations(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """Annotations such as list[int] and int | None, in a Python that is too old for them."""
    first = (3, 9) if "subscriptable" in match[0] else (3, 10)
    is_annotation = re.search(r"'(?:type|ABCMeta|_GenericAlias|NoneType|builtin_function_or_method)'", evidence.message)
    found = evidence.survey
    if not is_annotation or found is None or not found.is_python_before(*first):
        return None
    wanted = f"{first[0]}.{first[1]}"
    cause = f"the simulator was written for Python {wanted} or newer, and {evidence.place} is Python {found.python}"
    return cause, f"Python {wanted} or newer for this simulator"


def unreadable(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """Source code that this Python cannot read."""
    found = evidence.survey
    if found is None or not found.python:
        return None
    cause = f"Python {found.python} cannot read {match[1]}, line {match[2]}: it is for another Python, or has a mistake"
    return cause, "the Python that the simulator was written for, if it is another one"


def missing_keyword(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """Keywords without a default that kwargs does not have."""
    wanted, found = re.findall(r"'(\w+)'", match[1]), evidence.survey
    if found is None or found.parameters is None or not wanted or {*wanted} - {*found.parameters}:
        return None  # another function deep inside the simulator lacks it
    if {*wanted} & {*evidence.kwargs}:
        return None
    which = f"the keyword {wanted[0]!r}" if len(wanted) == 1 else f"the keywords {', '.join(map(repr, wanted))}"
    takes = ", ".join(name for name in found.parameters if name != "self")
    cause = f"the env needs {which}; it takes {takes}"
    given = "…, " if {*evidence.kwargs} - {"render_mode"} else ""
    return cause, f"kwargs = {{ {given}{', '.join(f'{name} = …' for name in wanted)} }}"


def keyword(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """A keyword of kwargs that the env does not take."""
    word, found = match[1], evidence.survey
    if word not in evidence.kwargs:
        return None
    if found is None or found.parameters is None:
        return f"the env takes no keyword {word!r}", f"kwargs without {word}"
    takes = [name for name in found.parameters if name != "self"]
    near = misspelt(word, takes) or nearest(word, takes)
    cause = f"the env takes no keyword {word!r}; it takes {', '.join(takes) or 'none'}"
    return cause, f"kwargs = {{ {near} = … }}" if near else f"kwargs without {word}"


def entry_point(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """An entry point whose module does not hold that name."""
    module, _, name = (evidence.entry.entry_point or "").partition(":")
    if (match[1], match[2]) != (module, name.partition(".")[0]):
        return None
    found = evidence.survey
    near = nearest(name, found.names) if found and found.names else None
    cause = f"the module {module} has no {name!r}" + (f"; the nearest is {near!r}" if near else "")
    advice = f"entry_point = {_quoted(f'{module}:{near}')}" if near else f"the name of a class or function of {module}"
    return cause, advice


def render_mode(evidence: Evidence, match: "re.Match[str]") -> tuple[str, str] | None:
    """A render mode that the env does not have."""
    mode, found = evidence.kwargs.get("render_mode"), evidence.survey
    if not isinstance(mode, str) or found is None or not found.render_modes or mode in found.render_modes:
        return None
    known = ", ".join(map(_quoted, found.render_modes))
    starts = [name for name in found.render_modes if name.startswith(mode)]
    near = next(iter(starts), None) or nearest(mode, found.render_modes) or found.render_modes[-1]
    return f"the env has no render mode {_quoted(mode)}; it has {known}", f"render_mode = {_quoted(near)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
