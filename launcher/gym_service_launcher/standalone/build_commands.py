"""Runs the commands of a build: passes their lines on, keeps the words of a failure, and stops on demand.

Never knows what the commands install. Standard library only, Python 3.6 and up: it runs on both sides of a command.

Each command is its own process group, so that all of its processes can be ended at once: an installer starts compilers.
It inherits the venv's lock, so that another builder waits for commands that outlive a killed builder.
"""

import os
import re
import select
import shutil
import signal
import subprocess

from gym_service_launcher.standalone import env_vars, installers, interrupts

# How often to check whether a command has ended whose output other processes hold open (seconds).
LOOK_S = 0.2
# How many lines of a failure to keep: the first lines say what failed, the last ones why.
FIRST_LINES, LAST_LINES = 10, 30
MOST_HELD, MOST_CHARS = 400, 500
READ_BYTES = 65536
# From a line like this on, an installer's output belongs to its error, so it is kept for the error, not passed on.
ERROR_BEGINS = re.compile(r"\s*(error|ERROR|×|Traceback \(most recent)\b|\s*×")
# The user name and password in an index URL.
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
# poll() always reports the first three. POLLRDHUP, the other direction of a socket, has to be requested.
LOST = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)


class BuildFailed(Exception):
    """A command of a build failed or could not be run. The text is the reason in one line.

    Attributes: ``argv``, ``exit_code`` (None if it did not start), ``tail`` (the end of its output).
    """

    def __init__(self, text, argv=(), exit_code=None, tail=""):
        Exception.__init__(self, text)
        self.argv, self.exit_code, self.tail = tuple(argv), exit_code, tail


class GivenUp(Exception):
    """The process that waits for the venv has ended."""


class Commands:
    """Runs commands in a folder; see the module. ``lock`` is None if no venv is being built."""

    def __init__(self, folder, say, watched=(), lock=None):
        self._folder, self._say, self._watched, self.lock = folder, say, list(watched), lock
        self._trusts_system = False

    def run(self, argv, env=None):
        """Run a command to its end, and pass its lines to ``say``, except for those of an error.

        Raises:
            BuildFailed: the command could not be started, or its exit code is not 0.
            GivenUp: the other end of a watched descriptor was closed.
        """
        base = env_vars.without_python_vars(os.environ) if env is None else env
        try:
            self._run_once(argv, installers.environment(base, self._trusts_system))
        except BuildFailed as error:
            if self._trusts_system or not installers.UNKNOWN_CERTIFICATE.search(error.tail):
                raise
            told = "%s does not know the certificate of the index: trying with the certificates of the system"
            self._say(told % name(argv))
            self._trusts_system = True
            self._run_once(argv, installers.environment(base, True))

    def _run_once(self, argv, env):
        try:
            process = self._started(argv, env)
        except OSError as error:
            interrupts.raise_if_from_handler(error)
            raise BuildFailed("%s cannot be run: %s" % (argv[0], error.strerror or error), shown(argv)) from error
        lines = Lines(self._say)
        try:
            self._follow(process, lines)
            code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            process.stdout.close()
        if code:
            text = "%s failed (exit code %d)" % (name(argv), code)
            raise BuildFailed(text, shown(argv), code, lines.tail())
        lines.flush()

    def _started(self, argv, env):
        executable = shutil.which(argv[0], path=env.get("PATH")) or argv[0]
        return subprocess.Popen(
            [executable, *list(argv[1:])],
            cwd=self._folder or None,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=() if self.lock is None else (self.lock,),
            start_new_session=True,
        )

    def _follow(self, process, lines):
        """Read the output of the process until it ends. A daemon that it leaves may hold the output open."""
        output = process.stdout.fileno()
        os.set_blocking(output, False)
        has_ended = False
        while True:
            if wait(self._watched, [output], 0 if has_ended else LOOK_S):
                raise GivenUp("the process that waited for the venv has gone")
            try:
                data = os.read(output, READ_BYTES)
            except BlockingIOError as error:
                interrupts.raise_if_from_handler(error)
                if has_ended:
                    return
                has_ended = process.poll() is not None
                continue
            if not data:
                return
            lines.take(data)


class Lines:
    """The lines of one command: passed on as they arrive until an error begins, and kept for the error after that."""

    def __init__(self, say):
        self._say = say
        self._unfinished = b""
        self._told, self._held = [], []

    def take(self, data):
        """Process the next bytes of its output."""
        *whole, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in whole:
            self._take_line(line)

    def flush(self):
        """Pass on the lines that were kept: the command succeeded, so they were no error."""
        self._end()
        for line in self._held:
            self._say(line)
        self._held = []

    def tail(self):
        """The lines of the error; if no error was recognised, the last lines of the output."""
        self._end()
        lines = self._held or self._told
        if len(lines) > FIRST_LINES + LAST_LINES:
            lines = [*lines[:FIRST_LINES], "…", *lines[-LAST_LINES:]]
        return "\n".join(lines).strip("\n")

    def _end(self):
        if self._unfinished:
            self._take_line(self._unfinished)
            self._unfinished = b""

    def _take_line(self, line):
        text = CREDENTIALS.sub("***@", line.decode("utf-8", "replace").rstrip())
        if self._held or ERROR_BEGINS.match(text):
            self._held.append(text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + "…")
            if len(self._held) > MOST_HELD:
                del self._held[FIRST_LINES:-LAST_LINES]
        elif text:
            self._told = [*self._told[-LAST_LINES:], text]
            self._say(text)


def rest(time_s, watched):
    """Wait for ``time_s``. Raises GivenUp if the other end of a watched descriptor closes."""
    if wait(watched, (), time_s):
        raise GivenUp("the process that waited for the venv has gone")


def wait(watched, readable, timeout_s):
    """Wait for one of ``readable``, or until the time is over. Whether a watched descriptor lost its other end."""
    poll = select.poll()
    for fd in watched:
        poll.register(fd, getattr(select, "POLLRDHUP", 0))
    for fd in readable:
        poll.register(fd, select.POLLIN)
    return any(fd in watched and event & LOST for fd, event in poll.poll(int(timeout_s * 1000)))


def name(argv):
    """The usual name of a command: uv, pip, or its program."""
    words = list(argv)
    for program in ("uv", "pip"):
        if (
            os.path.basename(words[0]) == program
            or words[1:4] == ["-I", "-m", program]
            or words[1:3] == ["-m", program]
        ):
            return program
    return os.path.basename(words[0])


def shown(argv):
    """A command as text, without the passwords in it."""
    return [CREDENTIALS.sub("***@", word) for word in argv]
