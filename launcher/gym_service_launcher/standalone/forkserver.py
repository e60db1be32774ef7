"""The fork server: a process that imports a simulator once, and then forks a server for each request.

Rules of this file:

1. Standard library only, Python 3.6 and up. The target's interpreter runs it by path, and the guardian starts it as it
   starts any server.
2. It knows processes and descriptors, and three functions of the server's program: ``become_importable()``,
   ``preload(recipe)`` and ``serve(argv, preloaded)``. It never knows what a recipe says.
3. A forked process unwinds to the end of this file before it serves, so that it ends as any Python program does.

Command line::

    PYTHON -u .../forkserver.py SERVER_PROGRAM RECIPE      the control socket is fd 3; RECIPE is JSON
    PYTHON -u .../forkserver.py SERVER_PROGRAM RECIPE BEGUN     a warm one, which was ordered at BEGUN, of time.time()

Contract. After its imports it sends one line on the control socket:

- ``ready``: from now on it forks servers.
- ``failed`` and the exception of an import, or ``unforkable`` and what the imports have started that a fork would lose.
  Then it ends, and its client starts servers in the ordinary way.

After ``ready``, the control socket and the lifelines are those of guardian.py, with one difference: a server is forked,
not executed. So only the part of the command after SERVER_PROGRAM counts, and the directory and the environment are the
fork server's own. When the control socket ends, the fork server and all of its servers end.

A warm fork server outlives the program that needs it first. Its client is warm_guardian.py, the guardian of the servers
too, and its work after ``ready`` is that of warm_forks.py.

What must change together: this contract with ``processes/forkservers.py`` and warm_guardian.py; the requests with
guardian.py.
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
# /proc may list a joined thread for a moment longer. A thread that is listed after this time still runs.
THREADS_END_S = 0.2
GPU_DEVICES = ("/dev/nvidia", "/dev/dri/", "/dev/kfd")


class BecomeServer(BaseException):
    """Leaves the fork server's loop in a forked process, which is a server from now on."""

    def __init__(self, argv):
        BaseException.__init__(self)
        self.argv = argv


def main(program, recipe, begun=""):
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    guardian = _load("gym_service_guardian", os.path.join(here, "guardian.py"))
    control = guardian.unix_socket(_reserve(guardian.MAX_FDS))
    faulthandler.enable()
    faulthandler.register(guardian.DUMP_SIGNAL)
    warm = _load("gym_service_warm_forks", os.path.join(here, "warm_forks.py")) if begun else None
    forks = warm.WarmForks(control, guardian, float(begun), here) if warm else None
    server = _load("gym_service_server", program)
    server.become_importable()
    preloaded, line = _preload(server, json.loads(recipe), guardian.procfs)
    problem = forks.note_files() if forks and preloaded else ""
    preloaded, line = (None, problem) if problem else (preloaded, line)
    control.sendall(line.encode("utf-8", "backslashreplace") + b"\n")
    if preloaded is None:
        return 0
    _share_memory()
    if forks:
        argv = forks.run(_fork)
        return _become_server(server, argv, program, preloaded) if argv else 0
    # The fork server's client is the guardian, which is also its parent.
    watch = guardian.client_watch
    client = watch.Client(os.getppid(), watch.open_pidfd(os.getppid()), is_parent=True)
    fork_server = guardian.Guardian(control, client, _spawner(guardian))
    try:
        fork_server.run()
        return 0
    except BecomeServer as become:
        argv = become.argv
    fork_server.detach()
    return _become_server(server, argv, program, preloaded)


def _become_server(server, argv, program, preloaded):
    arguments = [os.fsdecode(argument) for argument in argv]
    return server.serve(arguments[arguments.index(program) + 1 :], preloaded)


def _load(name, path):
    """A module, by path. It is not in sys.modules, so a simulator's import never finds it."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reserve(count):
    """Move the control socket away, and reserve the first ``count`` descriptor numbers for servers.

    A simulator opens descriptors while it is imported. They get other numbers, and stay open when a server's
    descriptors are put in place. Returns the control socket's new number.
    """
    control_fd = fcntl.fcntl(CONTROL_FD, fcntl.F_DUPFD_CLOEXEC, count)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, CONTROL_FD, inheritable=False)
    os.close(null)
    for number in range(CONTROL_FD + 1, count):
        os.dup2(CONTROL_FD, number, inheritable=False)
    return control_fd


def _preload(server, recipe, procfs):
    """(the result of the server program's ``preload``, or None; the line to send)."""
    try:
        preloaded = server.preload(recipe)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border: an import may raise anything
        traceback.print_exc()
        return None, "failed %s: %s" % (type(error).__name__, str(error).partition("\n")[0])
    left = _left_behind(procfs)
    return (None, "unforkable %s" % left) if left else (preloaded, "ready")


def _left_behind(procfs):
    """What the imports have started that a fork would lose or break, in words; empty if nothing."""
    if not procfs.is_ours():
        return "this system does not tell what is left running: it has no /proc, or that of another PID namespace"
    found = []
    threads = _remaining_threads(procfs)
    if threads:
        found.append("threads (%s)" % ", ".join(sorted(threads)))
    processes = [procfs.process_name(pid) for pid in procfs.children()]
    if processes:
        found.append("processes (%s)" % ", ".join(sorted(processes)))
    found += sorted({path for path in procfs.open_files() if path.startswith(GPU_DEVICES)})
    return "its imports have left %s" % " and ".join(found) if found else ""


def _remaining_threads(procfs):
    """The names of the other threads that still run after a fork's preparations.

    The threads of OpenBLAS, which numpy loads, end before each fork and start again on demand. A thread that remains
    belongs to code that is not prepared for a fork.
    """
    pid = _fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + THREADS_END_S
    while True:
        others = procfs.other_threads()
        if not others or time.monotonic() > deadline:
            return [procfs.thread_name(thread) for thread in others]
        time.sleep(0.001)


def _share_memory():
    """Prepare the memory of the imports so that servers share it until one of them writes to it."""
    _flush()
    gc.collect()
    if hasattr(gc, "freeze"):  # new in Python 3.7; without it the next collection writes into every object
        gc.freeze()  # novermin


def _flush():
    """Write C code's buffered output. Otherwise each server would write it again."""
    import ctypes

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL(None).fflush(None)


def _fork():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads: _left_behind checks them more closely
        return os.fork()


def _spawner(guardian):
    """The function that the guardian's class calls instead of fork and exec: it forks a server."""

    def spawn(argv, cwd, env, fds, prctl):
        fork_server = os.getpid()
        pid = _fork()
        if pid:
            return pid
        try:
            guardian.spawning.settle(prctl, fork_server)
            guardian.spawning.place(fds)
            for number in range(len(fds), guardian.MAX_FDS):
                os.close(number)
        except BaseException:
            os._exit(127)
            raise
        raise BecomeServer(argv)

    return spawn


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
