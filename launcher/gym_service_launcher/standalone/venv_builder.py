"""Builds a venv from an order: under a lock, at its final path, its marker last.

Runs on the user's machine in the client's process, and at the other end of a command, where it travels with the server
(``remote_guardian.py``). Knows its side's cache folder, that two processes may want the same venv, and that a killed
process may have left an unfinished one. Never knows envs.toml. Standard library only, Python 3.6 and up.

The order is plain data, made by ``interpreters/venvs.py``. Its keys:

    cache           the folder of the venvs; "" for the default of this side's user
    name            the venv's folder in it; everything that decides what is installed is part of the name
    instead         None, or a venv that also fits if it exists: {"name": …, "packages": what it must contain}
    python          the Python that the venv is made from: a path, or a version that uv may fetch
    folder          the working directory of every command, and the base of relative paths
    uv              the command for uv; [] if there is none
    words           what to install: requirements, and ``-e`` before a folder
    lines           the same as lines of a requirements file
    options         options of the installer, each with its values: [["--index-url", "https://…"], ["--pre"]]
    constraints     lines of a constraints file
    build_requires  installed first; the rest is then built with it
    locked          None, or exact versions: {"first": lines, "lines": lines, "local": words, "installer": "uv" | "pip"}
    post            commands to run in the venv at the end
    system_packages packages of Debian or Ubuntu that must be installed
    may_build       False: only check whether the venv exists
    rebuild         True: build it although it exists
    inspect         True: also report what is installed, and what is missing
    record          what the marker stores for users to read
    asked_by        who uses it: pairs of a file and an entry

Rules of a build:

1. The marker is written last. A folder without one is incomplete: it is removed and built from the beginning.
2. A process that builds or removes a venv holds the lock, a file beside the folder. Every command inherits it. If the
   builder is killed, the next one waits for its commands to end, so two of them never write into one venv.
3. A build that fails or is given up removes its folder.
4. The lock file is removed while the lock is held. A process that gets the lock of a removed file tries a new file.
"""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys

from gym_service_launcher.standalone import build_commands, env_vars, installed_packages, installers, interrupts
from gym_service_launcher.standalone.build_commands import BuildFailed

MARKER = "gym-service.json"
# How often to check whether a lock is free (seconds).
LOOK_S = 0.1
# How long an interpreter on a cold network file system may take to start (seconds).
ANSWER_S = 20.0
ASK = "import sys; sys.stdout.write('%d.%d.%d' % sys.version_info[:3])"


# Above 40 lines: half of them are the signature and the docstring, which users read in one place.
def provide(order, say, watched=()):
    """The venv of an order as plain data, built if it does not exist.

    Blocks while this or another process builds it, which may take minutes. An existing venv costs one start of its
    Python, some 20 ms.

    Args:
        order: see above.
        say: called with each line of progress.
        watched: descriptors that this function does not read. If the other end of one closes, the build stops.

    Returns:
        ``state`` ("found", "built" or "missing"), ``python``, ``version``, ``marker`` (its content), and with
        ``inspect`` ``platform``, ``packages``, ``sources`` and ``missing_packages`` (of the system; None if that is
        unknown).

    Raises:
        BuildFailed: an installer or a command of ``post`` failed.
        GivenUp: see ``watched``.
        OSError: the cache folder cannot be used.
    """
    cache = order["cache"] or cache_folder()
    venv = os.path.join(cache, order["name"])
    state, version = "found", None if order["rebuild"] else whole(venv)
    if version is None and order["instead"] and not order["rebuild"]:
        other = os.path.join(cache, order["instead"]["name"])
        if read_marker(other).get("packages") == order["instead"]["packages"]:
            version = whole(other)
            venv = other if version else venv
    if version is None and order["may_build"]:
        state, version = _built(order, venv, say, watched)
    if version is None:
        return {"state": "missing", "python": _executable(venv), "version": None, "marker": {}}
    marker = _use(venv, order["asked_by"])
    found = {"state": state, "python": _executable(venv), "version": version, "marker": marker}
    if order["inspect"]:
        found["platform"] = "%s %s" % (sys.platform, platform.machine())
        found["packages"] = installed_packages.versions(venv)
        found["sources"] = installed_packages.sources(venv)
        found["missing_packages"] = missing_system_packages(order["system_packages"])
    return found


def cache_folder(variables=os.environ):
    """The folder of this user's venvs: ``$XDG_CACHE_HOME`` or ``~/.cache``, then ``gym-service/venvs``."""
    configured = variables.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    home = configured if os.path.isabs(configured) else os.path.expanduser("~/.cache")
    if not os.path.isabs(home):  # there is no home, so "~" would be a folder of that name
        home = "/dev/null"
    return os.path.join(home, "gym-service", "venvs")


def whole(venv):
    """The version of the venv's Python if the venv is complete and still runs; else None."""
    minor = read_marker(venv).get("minor")
    version = minor and query_version(_executable(venv))
    return version if version and (version + ".").startswith(minor + ".") else None


def read_marker(venv):
    """The content of a venv's marker; empty if there is none."""
    try:
        with open(os.path.join(venv, MARKER), encoding="utf-8") as file:
            marker = json.load(file)
    except (OSError, ValueError) as error:
        interrupts.raise_if_from_handler(error)
        return {}
    return marker if isinstance(marker, dict) else {}


def query_version(python):
    """The version of an interpreter, found by running it; None if it does not run."""
    variables = env_vars.without_python_vars(os.environ)
    try:
        answer = subprocess.check_output(
            [python, "-E", "-S", "-c", ASK],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=variables,
            timeout=ANSWER_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        interrupts.raise_if_from_handler(error)
        return None
    version = answer.decode("ascii", "replace")
    return version if version.replace(".", "").isdigit() else None


def missing_system_packages(names):
    """The Debian or Ubuntu packages among these that are not installed; None if dpkg cannot be used."""
    if not names:
        return []
    try:
        command = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *list(names)]
        with open(os.devnull, "wb") as null:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=null)
            answer = process.communicate()[0].decode("utf-8", "replace")
    except OSError as error:
        interrupts.raise_if_from_handler(error)
        return None
    installed = {line.split(" ")[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in names if name.partition(":")[0] not in installed]


@contextlib.contextmanager
def locked(venv, say, watched=()):
    """Hold the lock of a venv; yields the lock's descriptor. Blocks while another process holds it.

    Raises GivenUp if the waiting process ends first (see ``rest``).
    """
    path = lock_file(venv)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    waited = False
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(lock, path):
                break
        except BlockingIOError:
            if not waited:
                say("Waiting for another process that is building %s" % venv)
            waited = True
            build_commands.rest(LOOK_S, watched)
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    try:
        yield lock
    finally:
        # Removed while it is held: a process that waits for it gets the lock of a removed file, and tries again.
        with interrupts.suppress(OSError):
            os.unlink(path)
        os.close(lock)


def lock_file(venv):
    """The lock file of a venv: beside it, and present only while a process builds or removes the venv."""
    return venv + ".lock"


def _is_file(fd, path):
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError as error:
        interrupts.raise_if_from_handler(error)
        return False


def _executable(venv):
    return os.path.join(venv, "bin", "python")


def _use(venv, asked_by):
    """Add ``asked_by`` to the marker, or set its time, which means when the venv was last used. Returns the marker."""
    marker = read_marker(venv)
    path = os.path.join(venv, MARKER)
    with interrupts.suppress(OSError):  # the venv may belong to another user
        known = marker.get("asked_by", [])
        new = [list(pair) for pair in asked_by if list(pair) not in known]
        if new:
            marker["asked_by"] = known + new
            _write(path, json.dumps(marker, indent=1, sort_keys=True))
        else:
            os.utime(path)
    return marker


def _write(path, text):
    """Write a file atomically."""
    unfinished = "%s.%d" % (path, os.getpid())
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError:
        with interrupts.suppress(OSError):
            os.unlink(unfinished)
        raise


def _built(order, venv, say, watched):
    """Build the venv, unless another process has built it while this one waited; (state, version)."""
    with locked(venv, say, watched) as lock:
        version = None if order["rebuild"] else whole(venv)
        if version is not None:
            return "found", version
        build = Build(order, venv, say, build_commands.Commands(order["folder"], say, watched, lock))
        try:
            return "built", build.run()
        except BaseException:
            shutil.rmtree(venv, ignore_errors=True)
            raise


class Build:
    """One build of a venv. The caller holds the venv's lock."""

    def __init__(self, order, venv, say, commands):
        self.order, self.venv, self.say = order, venv, say
        self.commands = commands
        self.python = _executable(venv)
        self.uv = installers.Uv(order["uv"]) if order["uv"] else None

    def run(self):
        """Build it. Returns its Python's version. Raises BuildFailed, GivenUp and OSError."""
        record = self.order["record"]
        self.say("Building a venv of Python %s with %s in %s" % (record["python"], record["with"], self.venv))
        if not self.uv:
            self.say("uv is not installed: pip builds the venv")
        version, installer = self._install()
        for command in self.order["post"]:
            self.say("Running %s" % " ".join(command))
            self.commands.run(command, env=self._variables())
        packages = installed_packages.versions(self.venv)
        marker = {"minor": version.rpartition(".")[0], "version": version, "installer": installer, "packages": packages}
        _write(os.path.join(self.venv, MARKER), json.dumps(dict(record, **marker), indent=1, sort_keys=True))
        return version

    def _install(self):
        """Create the venv and install everything; (the Python's version, the installer)."""
        exact = self.order["locked"]
        if exact:
            version = self._create()
            installer = self._old_pip(version, exact["first"]) if exact["installer"] == "pip" else self._installer()
            self._install_exact(installer)
            return version, exact["installer"]
        old = installers.wants_old_gym(self.order["words"] + self.order["lines"])
        if old is None:
            version = self._create()
            installer = self._installer()
            try:
                self._install_asked(installer)
            except BuildFailed as error:
                if not installers.TOO_OLD_FOR_INSTALLER.search(error.tail):
                    raise
            else:
                return version, installer.name
        what = "of %s" % old if old else "of one of them"
        self.say("%s cannot read the metadata %s: an old pip in the venv installs it" % (self._installer_name(), what))
        version = self._create()
        self._install_asked(self._old_pip(version), installers.old_constraints(version))
        return version, "pip"

    def _installer_name(self):
        return "uv" if self.uv else "Today's pip"

    def _create(self):
        """Create the empty venv in place of any old one. Returns the version of its Python."""
        # The marker is removed first: without it the rest counts as incomplete.
        with interrupts.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.venv, MARKER))
        if os.path.lexists(self.venv):
            shutil.rmtree(self.venv)
        if self.uv:
            self.commands.run(
                [*self.uv.command, "venv", "--quiet", "--no-project", "--python", self.order["python"], self.venv]
            )
        else:
            self.commands.run([self.order["python"], "-I", "-m", "venv", self.venv])
        version = query_version(self.python)
        if version is None:
            raise BuildFailed("%s was created and does not run" % self.python, [self.python])
        return version

    def _installer(self):
        """The installer for packages of today: uv, else a pip that is new enough for today's wheels."""
        if self.uv:
            return self.uv
        self._install_words(installers.Pip(), list(installers.NEW_TOOLS), self.order["options"])
        return installers.Pip()

    def _old_pip(self, version, exact=()):
        """Install a pip that accepts the metadata of gym 0.21; ``exact`` are the lines that pin it."""
        first = self.uv or installers.Pip()
        if exact:
            self._install_lines(first, exact)
        else:
            upgrade = [] if self.uv else ["--upgrade"]
            self._install_words(first, upgrade + list(installers.old_tools(version)), self.order["options"])
        return installers.Pip()

    def _install_asked(self, installer, constraints=()):
        """Install what the order requests; the installer resolves it."""
        order = self.order
        words, isolated = list(order["words"]), []
        if order["build_requires"]:
            self._install_words(installer, order["build_requires"], order["options"])
            isolated = ["--no-build-isolation"]
        with contextlib.ExitStack() as files:
            limits = files.enter_context(self._file("constraints.txt", order["constraints"] + list(constraints)))
            words = files.enter_context(self._file("requirements.txt", order["lines"])) + words
            if words:
                self._install_words(installer, isolated + limits + words, order["options"])

    def _install_exact(self, installer):
        """Install the locked versions, and none of their further dependencies."""
        exact = self.order["locked"]
        isolated = ["--no-build-isolation"] if self.order["build_requires"] else []
        if exact["installer"] != "pip" and exact["first"]:
            self._install_lines(installer, exact["first"])
        if exact["lines"]:
            self._install_lines(installer, exact["lines"], isolated)
        if exact["local"]:
            self._install_words(installer, isolated + ["--no-deps"] + exact["local"], self.order["options"])

    def _install_lines(self, installer, lines, more=()):
        with self._file("locked.txt", lines) as words:
            self._install_words(
                installer, [*list(more), "--no-deps", "--require-hashes", *words], self.order["options"]
            )

    def _install_words(self, installer, words, options):
        self.commands.run(installer.install(self.python, options, words))

    @contextlib.contextmanager
    def _file(self, name, lines):
        """The words that name a temporary file in the venv with these lines; none if there are no lines."""
        if not lines:
            yield []
            return
        path = os.path.join(self.venv, name)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("".join("%s\n" % line for line in lines))
        try:
            yield ["-c" if name == "constraints.txt" else "-r", path]
        finally:
            os.unlink(path)

    def _variables(self):
        """The variables of a command that runs in the venv."""
        variables = env_vars.environment(self.python, {}, [], os.environ)
        variables["VIRTUAL_ENV"] = self.venv
        return variables
