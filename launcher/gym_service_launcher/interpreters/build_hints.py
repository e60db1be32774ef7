"""What to try after a build of a venv has failed, by the words of the installer.

Knows what uv, pip, setuptools and compilers say. Never knows how a venv is built. Python 3.10 and up.
"""

import re

from gym_service_launcher.interpreters.venv_spec import VenvSpec

REACH = "whether the index can be reached from here: HTTPS_PROXY says which proxy to use"
# What to try, and the words of an installer that call for it. {1} is the first group that matched. The first of them
# that matches is given, so a cause stands before what only follows from it.
HINTS = {
    "gym-service cache prune, or XDG_CACHE_HOME=/a/larger/disk": r"No space left on device",
    'build_requires = ["setuptools<58", "wheel"]': r"use_2to3 is invalid",
    'build_requires = ["setuptools<81", "wheel"]': r"No module named '(?:pkg_resources|setuptools)'",
    'build_requires = ["setuptools", "wheel", "{1}"]': r"No module named '(Cython|numpy|torch|pybind11|cmake)'",
    "pip install uv, or apt-get install python3-venv": r"ensurepip is not (?:available|installed)",
    "apt-get install python3-dev, the headers of this Python": r"fatal error: Python\.h",
    "apt-get install libgl1-mesa-dev libegl1-mesa-dev libx11-dev": r"fatal error: (?:GL|EGL|X11)/\S+",
    "the apt package that has {1}; name it in system_packages": r"fatal error: ([\w/.]+): No such file",
    "apt-get install build-essential": r"command '?\S*(?:gcc|g\+\+|cc|clang)'? failed: No such|unable to execute '\S+'",
    'build_requires = ["cmake"], or apt-get install cmake': r"CMake must be installed|cmake(?:: not found|' failed)",
    "apt-get install swig": r"command '?swig'? failed",
    # The index may well be reached: Pythons come from another host.
    "Python {1} on PATH, in pyenv or in conda: none runs here, and uv could not download one": (
        r"Failed to download `\S*/cpython-(\d+\.\d+)"
    ),
    REACH: r"dns error|name resolution|Max retries exceeded|Connect(?:ion|Timeout)|timed out|tunnel",
    "SSL_CERT_FILE=/the/certificates/of/your/proxy.pem": r"certificate|UnknownIssuer",
    "the spelling of {1}: a requirement is written as in gymnasium>=1.0": r"Failed to parse: `([^`]+)`",
    "the spelling of {1}, or another index": r"(\S+) was not found in the package registry",
    'another python = "3.X" that these versions support': (
        r"no wheels? with a matching|requires a different Python|depends on Python|Requires-Python"
    ),
    "a version of {1} that the index has": r"no versions? of ([\w.-]+)|No matching distribution found for ([\w.-]+)",
    "pyenv install {1}, or another python": r"No interpreter found for Python (\d[\d.]*\d)",
    "fewer or looser pins: the words above say which ones exclude each other": (
        r"No solution found|ResolutionImpossible|conflict"
    ),
}


def advice(tail: str, spec: VenvSpec) -> str:
    """What to try, in one line."""
    for text, pattern in HINTS.items():
        found = re.search(pattern, tail)
        if found:
            return text.replace("{1}", next(filter(None, found.groups()), ""))
    return f"other versions for {spec.whose}, or build_requires and system_packages for what a build lacks"
