"""Installs packages into a venv: with uv, with pip, and with a pip old enough for gym 0.21.

Knows the command lines of uv and pip, and the words by which they say that a package is too old for them. Never knows
where a venv is or when it is complete: ``venv_builder.py`` does. Standard library only, Python 3.6 and up: it runs on
both sides of a command.

The metadata of gym up to 0.21 is invalid by today's rules (``opencv-python (>=3.)``, and an invalid
``extras_require``). uv refuses it, and so do pip from 24.1 and setuptools from 67 on. An old pip with an old
setuptools, both in the venv itself, accepts it.
"""

import os
import re

# The words of uv, pip and setuptools about metadata that they no longer accept.
TOO_OLD_FOR_INSTALLER = re.compile(
    r"has invalid metadata|could not be parsed|'extras_require' must be a dictionary|invalid metadata: Expected"
    r"|Metadata field .{0,80} is invalid|has an invalid wheel|InvalidRequirement|Invalid requirement: "
)
# A requirement that only such a gym fulfils. Without this check a resolver could go back to an even older gym.
OLD_GYM = re.compile(
    r"gym\s*(\[[^\]]*\])?\s*\(?(?=[=~<>!])[^;#]*"
    r"((===?|<=)\s*0\.(1?\d|2[01])(\.[\d*]+)*|~=\s*0\.(1?\d|2[01])\.\d+|<\s*0\.(1?\d|2[0-2])(\.0)*)\s*($|[,;#)])",
    re.IGNORECASE,
)
# The certificate of a company's proxy: the system knows it, uv's own list does not.
UNKNOWN_CERTIFICATE = re.compile(
    r"invalid peer certificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|certificate verify failed"
    r"|self.signed certificate"
)
# The files in which Linux systems keep the certificates that they trust.
CERTIFICATE_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

# The last versions that accept such metadata, by the Python that they run on; and what else gym 0.21 needs there.
OLDEST_TOOLS = ("pip>=21,<22", "setuptools<60", "wheel<0.38")  # the last for Python 3.6
OLD_TOOLS = ("pip>=22,<24.1", "setuptools<66", "wheel<0.39")
OLD_TOOLS_FOR_312 = (
    "pip>=22,<24.1",
    "setuptools>=66.1,<67",
    "wheel<0.39",
)  # an older setuptools imports names that pkgutil has removed
NEW_TOOLS = ("pip>=21",)

# Options whose names differ between uv and pip.
UV_OPTIONS = {"--trusted-host": "--allow-insecure-host", "--pre": "--prerelease=allow"}
# pip always does what this option allows uv to do.
PIP_LACKS = ("--index-strategy",)


class Uv:
    """uv: resolves and installs from outside the venv."""

    def __init__(self, command):
        self.name = "uv"
        self.command = list(command)

    def install(self, python, options, words):
        """The command that installs ``words`` (requirements and ``-r``, ``-c``, ``-e`` with their values)."""
        return [*self.command, "pip", "install", "--python", python, *uv_words(options), *words]


class Pip:
    """The venv's own pip."""

    def __init__(self):
        self.name = "pip"

    def install(self, python, options, words):
        # -I: otherwise Python would run a pip.py in the working directory.
        found = [python, "-I", "-m", "pip", "install", "--progress-bar", "off"]
        for option in options:
            found += [] if option[0] in PIP_LACKS else list(option)
        return found + list(words)


def uv_words(options):
    """The options as words for uv."""
    return [word for option in options for word in [UV_OPTIONS.get(option[0], option[0]), *option[1:]]]


def wants_old_gym(requirements):
    """The first requirement that only a gym up to 0.21 fulfils, or None."""
    return next((text for text in requirements if OLD_GYM.match(text.strip())), None)


def old_tools(version):
    """The pip, setuptools and wheel that accept the metadata of gym 0.21, for a Python of this version."""
    minor = minor_of(version)
    if minor < (3, 7):
        return OLDEST_TOOLS
    return OLD_TOOLS if minor < (3, 12) else OLD_TOOLS_FOR_312


def old_constraints(version):
    """What gym 0.21 needs but does not declare: it reads entry points in a way that version 5 removed."""
    return ["importlib-metadata<5"] if minor_of(version) < (3, 8) else []


def minor_of(version):
    """(3, 10) of "3.10.13"."""
    return tuple(int(number) for number in version.split(".")[:2])


def environment(variables, trusts_system):
    """The variables for an installer. ``trusts_system``: it trusts the system's certificates."""
    found = dict(variables)
    # A pip that is configured to install for the user, or to ask questions, would not work here either.
    found.update({"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    if trusts_system:
        found.update({"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"})  # the second is the name in older uv versions
        file = next((file for file in CERTIFICATE_FILES if os.path.isfile(file)), None)
        if file:
            found.setdefault("PIP_CERT", file)
    return found
