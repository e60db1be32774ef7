"""Run by path inside a target: prints one JSON line that says what is there.

Knows where Pythons keep their installed packages. Never imports gym or gymnasium, which can take seconds, and nothing
of ours. numpy is imported in a separate process, since a numpy for another processor kills the process that imports it.
Standard library only, Python 3.6 and up; 2.7 still prints its version.

With the argument ``quick``, numpy is not imported: its numpy_error is null.

The line: version, executable, prefix; for each of MODULES the version, "unknown" if it has no metadata, or null if it
is missing; numpy_error: why it does not import, or null.
"""

import json
import os
import re
import sys

MODULES = ("numpy", "gymnasium", "gym", "dm_env", "pettingzoo", "robosuite", "pip")
FACT = re.compile(r"^Version:\s*(\S+)", re.MULTILINE)


def main():
    # The first entry is this file's folder. Its config.py and errors.py are not the target's.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
    if sys.argv[1:] == ["numpy"]:
        import numpy

        assert numpy.zeros(1).sum() == 0
        return
    found = {
        "version": "%d.%d.%d" % sys.version_info[:3],
        "executable": sys.executable,
        "prefix": sys.prefix,
    }
    if sys.version_info >= (3, 6):
        found.update((module, installed(module)) for module in MODULES)
        is_quick = sys.argv[1:] == ["quick"]
        found["numpy_error"] = failure_of_numpy() if found["numpy"] and not is_quick else None
    # On a separate line, whatever was printed before.
    print("\n" + json.dumps(found))


def installed(module):
    """The version of an installed module, from its metadata, without an import."""
    import importlib.util

    spec = importlib.util.find_spec(module)
    # Without an origin it is a folder of that name, not a package.
    if spec is None or spec.origin is None:
        return None
    return metadata_version(module) or "unknown"


def metadata_version(module):
    """The same as importlib.metadata, which exists from Python 3.8 on."""
    name = re.compile(re.escape(module) + r"(-[^-]+(-py[\d.]+)?)?\.(dist|egg)-info$", re.IGNORECASE)
    for folder in filter(os.path.isdir, sys.path):
        for entry in sorted(os.listdir(folder)):
            if name.match(entry):
                version = version_in(os.path.join(folder, entry))
                if version:
                    return version
    return None


def version_in(info):
    for path in (os.path.join(info, "METADATA"), os.path.join(info, "PKG-INFO"), info):
        if os.path.isfile(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                match = FACT.search(file.read())
            if match:
                return match.group(1)
    return None


def failure_of_numpy():
    """Why numpy does not import, in one line, or None if it does."""
    import subprocess  # a quick probe does not need it

    process = subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), "numpy"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    stderr = process.communicate()[1].decode("utf-8", "replace")
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        return "it was killed by signal %d" % -process.returncode
    # numpy wraps the first error in a page of advice, so the first one is the reason.
    reasons = re.findall(r"^\w*(?:Error|Exception)\b.*", stderr, re.MULTILINE)
    return reasons[0].strip() if reasons else "exit code %d" % process.returncode


main()
