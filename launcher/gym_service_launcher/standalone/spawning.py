"""Starts a program as a server of this process: in its own process group, and killed when this process ends.

Knows fork, exec and prctl. Never knows what the program does. Standard library only, Python 3.6 and up: the guardian
loads it by path.
"""

import errno
import fcntl
import os
import signal
import sys
import termios

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Signals that a guardian ignores, since they may reach every process of a terminal or a job. A server gets the default
# actions back.
IGNORED = ("SIGINT", "SIGHUP", "SIGPIPE", "SIGTTOU", "SIGTTIN")


def parse_texts(data):
    """(argv, cwd, record, env) from the texts of a request; guardian.py describes them."""
    count, *texts = data.split(b"\0")[:-1]
    argv, (cwd, record, *env) = texts[: int(count)], texts[int(count) :]
    return argv, cwd, record, dict(item.split(b"=", 1) for item in env)


def exit_code(status):
    """The exit code of a status that a wait has returned; negative: a signal."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def find_prctl():
    """Linux's prctl, as a function of two numbers; None elsewhere."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl if sys.platform.startswith("linux") else None


def spawn(argv, cwd, env, fds, prctl):
    """Start a program with the descriptors as its 0, 1, 2, …, and return its pid. Raises OSError if exec fails."""
    parent = os.getpid()
    failed, told = os.pipe()  # a successful exec closes ``told``
    with open(failed, "rb") as file:
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    _become(argv, cwd, env, fds, prctl, parent)
                except OSError as error:
                    os.write(told, b"%d" % error.errno)
                finally:
                    os._exit(127)
        finally:
            os.close(told)
        number = file.read()
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return pid


def _become(argv, cwd, env, fds, prctl, parent):
    settle(prctl, parent)
    for name in (*IGNORED, "SIGCHLD"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    place(fds)
    os.chdir(cwd)
    os.execve(argv[0], argv, env)


def settle(prctl, parent):
    """Make a process that was just forked a server of ``parent``.

    It has no terminal, its orphaned descendants become its children, and it is killed when ``parent`` ends.
    """
    leave_terminal()
    if prctl:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it ended before prctl took effect, so no signal will come
            raise OSError(errno.ESRCH, "the guardian has ended")


def leave_terminal():
    """Lead a new process group, and give up the terminal: no Ctrl-C, Ctrl-Z or hang-up arrives from it.

    This starts no new session. If the kernel schedules each session as a group (``sched_autogroup_enabled``), a wake-up
    between two sessions can take some milliseconds on a busy machine, and each step needs two.
    """
    if give_up_terminal():
        os.setpgid(0, 0)
    else:
        os.setsid()  # on this system nothing else gives up a terminal


def give_up_terminal():
    """Give up the terminal of this process, which leads no session. Returns whether it has none now."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        return error.errno in (errno.ENXIO, errno.ENOENT, errno.EIO)  # there is none, or it has hung up
    try:
        fcntl.ioctl(fd, termios.TIOCNOTTY)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def place(fds):
    """Move the descriptors to the numbers 0, 1, 2, …."""
    # First to numbers above all of these, so that none overwrites another.
    apart = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(fds)) for fd in fds]
    for number, fd in enumerate(apart):
        os.dup2(fd, number)
        os.close(fd)
