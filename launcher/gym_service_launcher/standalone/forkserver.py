"""The forkserver: a process that imports a simulator once, and then forks a server each time it is asked for one.

Run by path in the target's interpreter, started by the guardian as any server is; standard library, Python 3.6 and up::

    PYTHON -u .../forkserver.py SERVER_PROGRAM RECIPE      the control socket is fd 3; RECIPE is JSON

Knows processes and file descriptors, and of the server's program three functions: ``become_importable()``,
``preload(recipe)``, and ``serve(argv, preloaded)``. Never knows what a recipe says.

Contract. Once all is imported it says one line on the control socket: ``ready``; or ``failed`` and what an import
raised, or ``unforkable`` and what they have left behind that a fork would not have, and then it ends: its client starts
its servers in the ordinary way. From ``ready`` on the control socket and the lifelines are those of guardian.py, whose
contract this is, but that a server is forked and not executed: of the command only what follows the server's program
counts, and neither directory nor environment, which are the nursery's own. It ends when the control socket does, and
with it all of its servers.

What is forked unwinds to the end of this file before it serves, so that it ends as any Python program does.
"""

import faulthandler
import fcntl
import gc
import importlib.util
import json
import os
import sys
import time
import traceback
import warnings

CONTROL_FD = 3
# A thread that was joined may stand in /proc for a moment longer; one that is still there after this long stays.
THREADS_END_S = 0.2
GPU_DEVICES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd")


class BecomeServer(BaseException):
    """Leads a process that was forked out of the nursery's loop: it is a server from here on."""

    def __init__(self, argv):
        BaseException.__init__(self)
        self.argv = argv


def main(program, recipe):
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    guardian = _module("gym_service_guardian", os.path.join(here, "guardian.py"))
    control = guardian.unix_socket(_reserve(guardian.MAX_FDS))
    faulthandler.enable()
    faulthandler.register(guardian.DUMP_SIGNAL)
    server = _module("gym_service_server", program)
    server.become_importable()
    preloaded, word = _preload(server, json.loads(recipe), guardian)
    control.sendall(word.encode("utf-8", "backslashreplace") + b"\n")
    if preloaded is None:
        return 0
    _share_memory()
    fork_server = guardian.Guardian(control, os.getppid(), _spawner(guardian))
    try:
        fork_server.run()
        return 0
    except BecomeServer as become:
        argv = become.argv
    fork_server.detach()
    arguments = [os.fsdecode(argument) for argument in argv]
    return server.serve(arguments[arguments.index(program) + 1 :], preloaded)


def _module(name, path):
    """A module by its path, and under no name that a simulator could ask for."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reserve(count):
    """The control socket under another number: those that servers' descriptors will have are kept from a simulator.

    One that a simulator opens while it is imported is then not closed when a server's takes its number.
    """
    control_fd = fcntl.fcntl(CONTROL_FD, fcntl.F_DUPFD_CLOEXEC, count)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, CONTROL_FD, inheritable=False)
    os.close(null)
    for number in range(CONTROL_FD + 1, count):
        os.dup2(CONTROL_FD, number, inheritable=False)
    return control_fd


def _preload(server, recipe, guardian):
    """(What the server's program has preloaded, or None; what to say of it)."""
    try:
        preloaded = server.preload(recipe)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border: an import may raise anything
        traceback.print_exc()
        return None, "failed %s: %s" % (type(error).__name__, str(error).partition("\n")[0])
    left = _left_behind(guardian)
    return (None, "unforkable %s" % left) if left else (preloaded, "ready")


def _left_behind(guardian):
    """What the imports have left that a forked process would not have, or not whole, in words; empty if nothing."""
    if not os.path.isdir("/proc/self/task"):
        return "nothing tells what it has left running: this system has no /proc"
    found = []
    threads = _threads()
    if threads:
        found.append("threads (%s)" % ", ".join(sorted(threads)))
    processes = [_name("/proc/%d" % pid) for pid in guardian.children()]
    if processes:
        found.append("processes (%s)" % ", ".join(sorted(processes)))
    links = [_link("/proc/self/fd/%s" % fd) for fd in os.listdir("/proc/self/fd")]
    found += sorted({link for link in links if link.startswith(GPU_DEVICES)})
    return "its imports have left %s" % " and ".join(found) if found else ""


def _threads():
    """The names of the threads, besides this one, that a fork does not end.

    Those of OpenBLAS, which numpy brings, end before each fork and are started again when they are needed. So what is
    still there after a fork belongs to somebody who has not thought of one.
    """
    pid = _fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + THREADS_END_S
    while True:
        others = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]
        if not others or time.monotonic() > deadline:
            return [_name("/proc/self/task/%s" % task) for task in others]
        time.sleep(0.001)


def _name(folder):
    try:
        with open(folder + "/comm") as file:
            return file.read().strip()
    except OSError:
        return "?"


def _link(path):
    try:
        return os.readlink(path)
    except OSError:  # the listing's own
        return ""


def _share_memory():
    """Have what was imported lie in memory that all servers share for as long as nobody writes there."""
    _flush()
    gc.collect()
    if hasattr(gc, "freeze"):  # new in Python 3.7: else the next collection writes into every object
        gc.freeze()  # novermin


def _flush():
    """Else what C code has printed, and is not written yet, would be written by each server once more."""
    import ctypes

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL(None).fflush(None)


def _fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: they are looked at more closely here
        return os.fork()


def _spawner(guardian):
    """What takes the place of the guardian's fork and exec: a fork that serves."""

    def spawn(argv, cwd, env, fds, prctl):
        fork_server = os.getpid()
        pid = _fork()
        if pid:
            return pid
        try:
            guardian.settle(prctl, fork_server)
            guardian.place(fds)
            for number in range(len(fds), guardian.MAX_FDS):
                os.close(number)
        except BaseException:
            os._exit(127)
            raise
        raise BecomeServer(argv)

    return spawn


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
