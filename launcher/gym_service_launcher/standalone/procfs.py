"""What Linux reports about processes in /proc. No other module of the launcher reads /proc.

Knows the files of /proc. Never knows what a process is for. Standard library only, Python 3.6 and up: it also runs in a
target's interpreter, loaded by path.

/proc may be missing (macOS), or may show the processes of another PID namespace, where the same pids mean other
processes. Each function then returns the same as if it had found nothing. Where no descriptor is free, /proc can be
read again later; ``children`` raises then, since its caller must not take unknown processes for ended ones.
"""

import errno
import os

if __package__:
    from gym_service_launcher.standalone.interrupts import raise_if_from_handler as _raise_if_from_handler
else:  # loaded by path: into a process of ours, where no handler of a user runs

    def _raise_if_from_handler(error):
        pass


class Process:
    """What is known about a process.

    ``state`` is a letter, as in ps. ``start_time`` counts the kernel's clock ticks since boot: together with the pid it
    identifies a process for ever.

    It is no named tuple, whose import would delay the guardian.
    """

    def __init__(self, state, parent_pid, start_time, memory_bytes):
        self.state = state
        self.parent_pid = parent_pid
        self.start_time = start_time
        self.memory_bytes = memory_bytes


_checked = (0, False)  # the pid for which is_ours was computed, and the answer
# The process has too many open files, the system has, or it lacks memory.
_PASSING = errno.EMFILE, errno.ENFILE, errno.ENOMEM


def is_ours():
    """Whether /proc exists and shows the PID namespace of this process."""
    try:
        return _find_whether_ours()
    except OSError as error:
        _raise_if_from_handler(error)
        return False


def _find_whether_ours():
    global _checked
    pid = os.getpid()
    if _checked[0] != pid:
        _checked = pid, _shows_us(pid)
    return _checked[1]


def _shows_us(pid):
    try:
        if int(os.readlink("/proc/self")) != pid:
            return False
        with open("/proc/self/status") as file:
            # Seen from an outer namespace, a process has one pid for each namespace that it is in.
            pids = [line.split()[1:] for line in file if line.startswith("NSpid:")]
    except (OSError, ValueError) as error:
        _raise_if_from_handler(error)
        _raise_if_passing(error)
        return False
    return not pids or len(pids[0]) == 1


def process(pid):
    """The Process of a pid; None if it has ended, even if it is still a zombie."""
    fields = _stat("/proc/%d/" % pid) if is_ours() else []
    if not fields or fields[0] in "ZX":
        return None
    return Process(fields[0], int(fields[1]), int(fields[19]), int(fields[21]) * os.sysconf("SC_PAGESIZE"))


def zombie_exit_code(pid):
    """The exit code (negative: a signal) of a process that has ended and is not reaped; None for any other pid."""
    fields = _stat("/proc/%d/" % pid) if is_ours() else []
    if not fields or fields[0] != "Z":
        return None
    status = int(fields[49])
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def uptime_s():
    """The seconds since boot. Call it only where ``is_ours``."""
    with open("/proc/uptime") as file:
        return float(file.read().split()[0])


def oom_kills():
    """How many processes the kernel has killed for lack of memory since boot, on the whole machine; None if unknown.

    Includes those at the limit of a control group, such as a container's. Linux 4.13 and newer count them.
    """
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), None)
    except (OSError, ValueError) as error:
        _raise_if_from_handler(error)
        return None


def memory_bytes():
    """(available, total) of the memory of the machine; None if /proc does not tell."""
    try:
        with open("/proc/meminfo") as file:
            found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file if line.startswith("Mem")}
        return found["MemAvailable"], found["MemTotal"]
    except (OSError, ValueError, KeyError) as error:
        _raise_if_from_handler(error)
        return None


def pid_namespace():
    """A name for the PID namespace of this process; empty if there is none."""
    try:
        return os.readlink("/proc/self/ns/pid") if is_ours() else ""
    except OSError as error:
        _raise_if_from_handler(error)
        return ""


def children():
    """The pids of the children of this process's main thread, zombies included.

    Raises OSError if they are unknown for now, because no descriptor is free.
    """
    if not _find_whether_ours():
        return []
    me = os.getpid()
    try:
        with open("/proc/%d/task/%d/children" % (me, me)) as file:
            return [int(pid) for pid in file.read().split()]
    except OSError as error:  # a kernel without CONFIG_PROC_CHILDREN
        _raise_if_from_handler(error)
        _raise_if_passing(error)
    return _children_by_parent(str(me))


def _children_by_parent(parent):
    pids = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    return [int(pid) for pid in pids if _present_stat("/proc/%s/" % pid)[1:2] == [parent]]


def main_thread(pid):
    """(state, seconds of processor time so far) of the main thread of a process; None if it has ended."""
    task = "/proc/%d/task/%d/" % (pid, pid)
    fields = _stat(task) if is_ours() else []
    if not fields:
        return None
    try:
        with open(task + "schedstat") as file:
            return fields[0], int(file.read().split()[0]) / 1e9
    except (OSError, ValueError, IndexError) as error:  # a kernel without it, or it has just ended: use clock ticks
        _raise_if_from_handler(error)
        return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def other_threads():
    """The thread ids of this process, without the main thread."""
    return [int(task) for task in os.listdir("/proc/self/task") if int(task) != os.getpid()] if is_ours() else []


def thread_name(thread_id):
    """The name of a thread of this process."""
    return _name("/proc/self/task/%d/" % thread_id)


def process_name(pid):
    """The name of a process's program."""
    return _name("/proc/%d/" % pid)


def open_files():
    """The targets of this process's open descriptors, by the kernel's names."""
    return [_link("/proc/self/fd/%s" % fd) for fd in os.listdir("/proc/self/fd")] if is_ours() else []


def _stat(folder):
    """The fields of a stat file from the state on; empty if there is no such file, or it cannot be read."""
    try:
        return _present_stat(folder)
    except OSError as error:
        _raise_if_from_handler(error)
        return []


def _present_stat(folder):
    """As ``_stat``, but raises OSError if no descriptor is free."""
    try:
        with open(folder + "stat") as file:
            return file.read().rpartition(")")[2].split()  # the name before them may contain spaces and parentheses
    except OSError as error:
        _raise_if_from_handler(error)
        _raise_if_passing(error)
        return []


def _raise_if_passing(error):
    if getattr(error, "errno", None) in _PASSING:
        raise error


def _name(folder):
    try:
        with open(folder + "comm") as file:
            return file.read().strip()
    except OSError as error:
        _raise_if_from_handler(error)
        return "?"


def _link(path):
    try:
        return os.readlink(path)
    except OSError as error:  # the descriptor of this listing itself
        _raise_if_from_handler(error)
        return ""
