"""The work of a warm fork server: it forks servers until its guardian closes the control socket.

Knows the requests of warm_guardian.py, forks, and the files of its own image (image_files.py). Never knows who asks,
nor what a server is for. Standard library only, Python 3.6 and up: forkserver.py loads it by path in the target's
interpreter.

Theory of operation. The first request forks nothing: its environment has the variables of the terminal that this
process was started with. From ``ready`` on the guardian sends one request at a time and waits for its answer:
``pid N``, ``errno N``, or ``changed PATH`` if the files of the image are not what they were when they were imported.
A server is forked twice, and the process between ends at once. So the server becomes a child of the guardian, which is
the nearest subreaper, and is not affected by the end of this process.

What must change together: the requests and the answers with warm_guardian.py.
"""

import errno
import importlib.util
import os
import time

# Variables that say in which terminal or session a program runs. They decide no import, so a server gets its client's.
TERMINAL_NAMES = ("PWD", "OLDPWD", "SHLVL", "_", "WINDOWID")
TERMINAL_STARTS = ("TERM", "SSH_", "XDG_SESSION_")
OUTPUT_FDS = (1, 2)


def is_of_terminal(name):
    """Whether a variable says only in which terminal or session a program runs."""
    return name in TERMINAL_NAMES or name.startswith(TERMINAL_STARTS)


class WarmForks:
    """One warm fork server, from before its imports on."""

    def __init__(self, control, guardian, begun_s, here):
        """``begun_s``: the wall clock when it was ordered. ``here``: the folder of forkserver.py."""
        self._control = control
        self._guardian = guardian
        self._guardian_pid = os.getppid()
        self._begun_s = begun_s
        self._here = here
        spec = importlib.util.spec_from_file_location("gym_service_image_files", os.path.join(here, "image_files.py"))
        self._image_files = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._image_files)
        self._before = self._image_files.importable_names()
        self._files = None
        _, _, (_, _, _, env) = self._receive()
        self._terminal = {name: value for name, value in env.items() if is_of_terminal(os.fsdecode(name))}

    def note_files(self):
        """Look at the files after the imports. Returns why nothing can be forked; empty if it can."""
        ours = [os.path.join(self._here, name) for name in os.listdir(self._here) if name.endswith(".py")]
        self._files = self._image_files.ImageFiles(self._before, ours)
        changed = self._files.changed_since(self._begun_s)
        return "failed %s changed while it was imported" % changed if changed else ""

    def run(self, fork):
        """Fork servers. Returns the command line in each of them, and None here once the guardian closes the socket."""
        # The programs that read the output of the imports end before this process does.
        null = os.open(os.devnull, os.O_WRONLY)
        for fd in OUTPUT_FDS:
            os.dup2(null, fd)
        os.close(null)
        prctl = self._guardian.spawning.find_prctl()
        prctl(self._guardian.spawning.PR_SET_CHILD_SUBREAPER, 0)
        while True:
            received = self._receive()
            if received is None:
                return None
            fds, _, (argv, _, _, env) = received
            changed = self._files.first_difference()
            line = "changed %s" % changed if changed else self._fork_twice(fork, fds, env, prctl)
            for fd in fds:
                os.close(fd)
            if line is None:
                return argv
            self._control.sendall(line.encode("utf-8", "backslashreplace").replace(b"\n", b" ") + b"\n")

    def _receive(self):
        self._control.setblocking(True)
        return self._guardian.receive_request(self._control, None)

    def _fork_twice(self, fork, fds, env, prctl):
        """The answer; None in the server."""
        told, teller = os.pipe()
        try:
            between = fork()
            if between == 0:
                self._fork_and_end(fork, teller)
                self._become_server(fds, env, prctl)
                return None
            os.close(teller)
            teller = -1
            line = os.read(told, 64).decode("ascii")
            _reap(between)
            return line or "errno %d" % errno.EAGAIN
        except OSError as error:
            return "errno %d" % error.errno
        finally:
            for fd in (told, teller):
                if fd >= 0:
                    _close(fd)

    def _fork_and_end(self, fork, teller):
        """Fork again, tell the result, and end; return in the new process, once it is a child of the guardian."""
        between = os.getpid()
        try:
            pid = fork()
        except OSError as error:
            os.write(teller, b"errno %d" % error.errno)
            os._exit(0)
        if pid:
            os.write(teller, b"pid %d" % pid)
            os._exit(0)
        while os.getppid() == between:
            time.sleep(0.0002)

    def _become_server(self, fds, env, prctl):
        """Make this process a server, or end it."""
        try:
            self._guardian.spawning.settle(prctl, self._guardian_pid)
            self._guardian.spawning.place(fds)
            for number in range(len(fds), self._guardian.MAX_FDS):
                os.close(number)
            self._control.close()
            self._take_terminal(env)
        except BaseException:
            os._exit(127)
            raise

    def _take_terminal(self, env):
        """Set the client's variables of the terminal, but not those that a script or an import has set."""
        for name in set(self._terminal) | set(env):
            if os.environb.get(name) != self._terminal.get(name):
                continue
            if name in env:
                os.environb[name] = env[name]
            else:
                os.environb.pop(name, None)


def _reap(pid):
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # an import has set SIGCHLD to be ignored
        pass


def _close(fd):
    try:
        os.close(fd)
    except OSError:
        pass
