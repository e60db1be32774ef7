"""Chooses a simulator's renderer where there is no display: EGL, else OSMesa, else its library's own choice.

Knows Python's imports, the variables of the renderers, and where drivers are. Never knows an env or the wire. Imports
nothing from gym-service, since the reference run of ``gym_service.testing`` loads this file by path. Standard library
only, Python 3.6 and up.

Theory of operation. A variable such as MUJOCO_GL is set only if a test showed that this renderer works: with
MUJOCO_GL=egl on a machine without EGL even the import of MuJoCo fails, though an env that renders nothing needs no EGL.
The test is a process that draws (``offscreen_probe.py``), some hundred milliseconds. So it runs only when a simulator
imports a library that draws: any other env only pays a look at the name of each module that it imports. The answer is
cached in the user's cache folder with the times of the driver files, and is valid as long as they and the packages do
not change. The choice is made in the target's process, so it is also right in containers and on other hosts.

This never changes a variable that the user has set, or that the simulator sets before it imports the library.
"""

import os
import re
import sys
import threading
import time
from contextlib import contextmanager

# The question that each of these modules raises when it is imported; each library reads its variables then.
RENDERER, WINDOW = "renderer", "window"
QUESTIONS = {"mujoco": RENDERER, "dm_control": RENDERER, "OpenGL": RENDERER, "robosuite": RENDERER, "pyglet": WINDOW}
# The renderers to try, best first, and the variables that choose each. MuJoCo does not start if its two differ.
CHOICES = {
    RENDERER: [
        ("egl", {"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl"}),
        ("osmesa", {"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "osmesa"}),
    ],
    WINDOW: [("headless", {"PYGLET_HEADLESS": "1"})],
}
# The limit for one try, in seconds; a cold disk and a busy machine have taken 9.
PROBE_TIMEOUT_S = 40
# How long an answer is valid if a probe was too slow (seconds): long enough for the servers that wait for it.
UNSURE_S = 300
WORKS = b"gym-service: it works"
REASON_CHARS = 300

LIBRARIES = (
    *(
        "libEGL.so.1",
        "libEGL.so",
        "libEGL_mesa.so.0",
        "libEGL_nvidia.so.0",
        "libGL.so.1",
        "libOpenGL.so.0",
        "libGLX.so.0",
    ),
    *("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so", "libglapi.so.0", "libcuda.so.1", "dri"),
)
FOLDERS = ("/usr/lib64", "/usr/lib", "/usr/local/lib", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64")
VENDORS = ("/usr/share/glvnd/egl_vendor.d", "/etc/glvnd/egl_vendor.d", "/usr/share/egl/egl_external_platform.d")
# Variables with these prefixes change which driver is found, or how it draws.
VARIABLES = (
    *("EGL", "LIBGL", "MESA", "GALLIUM", "GALLIVM", "OSMESA", "DRI", "CUDA_VISIBLE", "NVIDIA", "MUJOCO", "PYOPENGL"),
    *("PYGLET", "LD_", "__EGL", "__GLX", "__NV", "PYTHONPATH"),
)

# The launcher's mark that SDL_VIDEODRIVER is its own, not the user's; it is in ``_sdl_defaults`` from then on.
SDL_MARK = "GYM_SERVICE_SDL_IS_DEFAULT"
_sdl_defaults = []  # type: list
# From this pygame on its wheels have an SDL with the driver ``offscreen``: 2.3.0 has 2.24, 2.5.2 has 2.28.
OFFSCREEN_PYGAME = (2, 5)
PYGAME = re.compile(r"pygame(?:_ce)?-(\d+)\.(\d+)[^/]*\.(?:dist|egg)-info$")

_lock = threading.RLock()
_told = []  # type: list  # a sentence for each question that was answered


class _ImportWatch:
    """An entry at the front of sys.meta_path that finds no modules. It sees each module's name before the import."""

    def find_spec(self, fullname, path=None, target=None):
        question = QUESTIONS.get(fullname)
        if question is not None and path is None:
            _ask(question)
        elif fullname == "pygame":
            _let_sdl_choose()


_watch = _ImportWatch()


def watch_imports():
    """Choose a renderer when a library that draws is imported, unless there is a display. Only on Linux."""
    if os.environ.pop(SDL_MARK, None):
        _sdl_defaults.append("dummy")
    if sys.platform == "linux" and not has_display() and _watch not in sys.meta_path:
        sys.meta_path.insert(0, _watch)
        if "pygame" in sys.modules:
            _let_sdl_choose()


def _let_sdl_choose():
    """Remove the launcher's SDL_VIDEODRIVER=dummy if pygame's SDL draws off-screen by itself, as it does in process.

    Older ones raise "No available video device" without the variable. But some simulators take it for the wish to draw
    nothing: highway-env's pictures are black then.
    """
    if os.environ.get("SDL_VIDEODRIVER") in _sdl_defaults and _pygame_version() >= OFFSCREEN_PYGAME:
        del os.environ["SDL_VIDEODRIVER"]
    _sdl_defaults.clear()


def _pygame_version():
    """(major, minor) of the pygame or pygame-ce that would be imported; (0, 0) if it is not known."""
    for folder in sys.path:
        for name in _listed(folder or "."):
            found = PYGAME.match(name)
            if found:
                return int(found.group(1)), int(found.group(2))
    return 0, 0


def has_display():
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def notes():
    """What was set, or why nothing was, for error reports: lines that end in a newline, or an empty text."""
    return "".join("gym-service: %s\n" % sentence for sentence in _told)


def _ask(question):
    with _lock:
        if question not in CHOICES or has_display():
            return
        choices = CHOICES.pop(question)  # each process asks each question once
        if any(name in os.environ for _, variables in choices for name in variables):
            return
        works, reasons = _answer(question, choices)
        variables = dict(choices).get(works, {})
        os.environ.update(variables)
        settings = ", ".join("%s=%s" % item for item in sorted(variables.items()))
        failed = "; ".join("%s: %s" % (name, reasons[name]) for name, _ in choices if name in reasons)
        text = "there is no display, so %s was set, which was seen to work" % settings
        if not variables:
            text = "there is no display, and no renderer was set, since none was seen to work"
        _told.append("%s%s" % (text, " (%s)" % failed if failed else ""))


def _answer(question, choices):
    """(The first choice that works or "", why those before it do not): from the cache, else from the probe."""
    import json

    stamps = _stamps()
    path = _cache_file(question, stamps.pop("variables"))
    if path is None:
        return _probe_all(choices)[:2]
    with _locked(path + ".lock"):
        kept = _read(path)
        if kept is not None and kept.get("stamps") == stamps and _still_counts(kept):
            return kept["works"], kept["reasons"]
        works, reasons, is_sure = _probe_all(choices)
        answer = {"stamps": stamps, "works": works, "reasons": reasons}
        if not is_sure:
            answer["until"] = time.monotonic() + UNSURE_S
        _write(path, json.dumps(answer))
    return works, reasons


def _still_counts(kept):
    """Whether an uncertain answer is recent enough. The clock starts again when the machine restarts."""
    return "until" not in kept or 0 < kept["until"] - time.monotonic() <= UNSURE_S


# -- the probe -------------------------------------------------------------------------------------------------------


def _probe_all(choices):
    """As ``_answer``, and whether to keep the answer: a probe that was too slow proves nothing for the next one."""
    reasons, is_sure = {}, True
    for name, variables in choices:
        reason = _probe(name, variables)
        if not reason:
            return name, reasons, is_sure
        reasons[name] = reason
        is_sure = is_sure and not reason.startswith("no answer")
    return "", reasons, is_sure


def _probe(name, variables):
    """Why this renderer cannot draw here; empty if it can. Blocks for at most PROBE_TIMEOUT_S."""
    import subprocess

    command = [sys.executable, "-c", _source(), name]
    try:
        done = subprocess.run(  # noqa: UP022 - of Python 3.7; its own process, since a driver may crash
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, **variables),
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return "no answer within %d s" % PROBE_TIMEOUT_S
    except OSError as error:
        return "no answer: %s" % error
    if WORKS in done.stdout:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    ended = "killed by signal %d" % -done.returncode if done.returncode < 0 else "exit code %d" % done.returncode
    return (lines[-1] if lines and done.returncode > 0 else ended)[:REASON_CHARS]


def _source():
    """The text of the probe: a file beside this one, or in memory if the server's source came over a command."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "offscreen_probe.py")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            return file.read()
    return __loader__.get_source(__package__ + ".offscreen_probe")


# -- the cache -------------------------------------------------------------------------------------------------------


def _stamps():
    """The conditions of the answer: drivers, devices and packages with their times; "variables" separately."""
    stamps = {}
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), os.path.join(sys.prefix, "lib")]
    folders += ["/usr/lib/" + name for name in _listed("/usr/lib") if name.endswith(("-linux-gnu", "-linux-musl"))]
    for folder in filter(None, folders + list(FOLDERS)):
        for name in LIBRARIES:
            _stamp(stamps, os.path.join(folder, name))
    _stamp(stamps, "/etc/ld.so.cache")
    for folder in (*VENDORS, os.path.join(sys.prefix, "share/glvnd/egl_vendor.d")):
        for name in _listed(folder):
            _stamp(stamps, os.path.join(folder, name))
    devices = ["/dev/dri/" + name for name in _listed("/dev/dri")]
    devices += ["/dev/" + name for name in _listed("/dev") if name.startswith("nvidia")]
    stamps["devices"] = [path for path in devices if os.access(path, os.R_OK | os.W_OK)]
    for name in QUESTIONS:
        _stamp(stamps, _package(name) or "")
    stamps["variables"] = sorted(item for item in os.environ.items() if item[0].startswith(VARIABLES))
    return stamps


def _stamp(stamps, path):
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return
    stamps[path] = [found.st_mtime_ns, found.st_size, found.st_ino]


def _package(name):
    """A package's main file, if the package is installed. Not its folder: the first compilation changes that."""
    from importlib.machinery import PathFinder

    try:
        spec = PathFinder.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None else None


def _listed(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _cache_file(question, variables):
    """The file that caches the answer; None if this user has no private folder for it."""
    import hashlib
    import stat

    cache = os.environ.get("XDG_CACHE_HOME", "")
    cache = cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):  # no HOME, and no passwd entry
        return None
    folder = os.path.join(cache, "gym-service", "offscreen")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        return None
    asked = repr((question, sys.executable, sys.prefix, sys.version, variables))
    return os.path.join(folder, hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()[:24])


@contextmanager
def _locked(path):
    """Hold a lock while one process finds the answer and the others wait: a vector env starts many at once."""
    import fcntl

    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks: each process finds the answer by itself
        yield
    finally:
        os.close(fd)


def _read(path):
    import json

    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and "works" in kept and "reasons" in kept else None


def _write(path, text):
    """Replace the file. If the disk is full or read-only, the next process only has to probe again."""
    temporary = "%s.%d" % (path, os.getpid())
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        pass
