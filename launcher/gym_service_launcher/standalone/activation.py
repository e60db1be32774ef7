"""Starts a program in an environment that scripts set up: a shell runs them, then becomes the program.

Knows shells, scripts and the variables between them. Never knows the purpose of the scripts, or envs.toml. Standard
library only, Python 3.6 and up: it runs on both sides of a command.

Theory of operation. The guardian starts ``words(…)`` followed by the command of the target, with ``variables(…)``. So
the process first is a shell, which sources the scripts, then the target's Python, which computes the variables (STAGE),
then the command itself. It stays one process. Its descriptors, its time limit, its output and the processes that the
scripts leave behind are those of the server. ``ulimit`` and ``umask`` stay in effect.

The scripts, and what follows them, travel in two variables, since every user of the machine can read command lines. The
target sees neither variable.

Rejected: running the scripts first and copying the variables. That loses limits, and ends what the scripts leave
running.
"""

import errno
import json
import shlex
import shutil

from gym_service_launcher.standalone import env_vars

STEPS, ORDER = "GYM_SERVICE_ACTIVATION", "GYM_SERVICE_ACTIVATED"

# What the shell says, in a trap, where a script ends it before the target's Python runs. A script may set its own trap:
# then the exit code alone is known.
SHELL_ENDED = "an activation script ended the shell"

# The scripts get no arguments, as if a user sourced them in a shell. $0 stays "bash": some scripts take their own name
# there to mean that they are executed. They may define functions named exec, trap or echo.
BASH = (
    'gym_service_command=("$@"); set --; trap \'builtin echo "gym-service: %s: exit code $?" >&2\' EXIT; '
    'eval "$%s"; builtin trap - EXIT; builtin exec "${gym_service_command[@]}"'
) % (SHELL_ENDED, STEPS)
# A POSIX shell has no arrays, but a function has its own arguments.
SH = (
    'gym_service_activate() { eval "$%s"; }; trap \'command echo "gym-service: %s: exit code $?" >&2\' EXIT; '
    'gym_service_activate; command trap - EXIT; command exec "$@"'
) % (STEPS, SHELL_ENDED)

# Runs in the target, after the text of env_vars.py: on a remote side there is no file of ours.
STAGE = """

import json
order = json.loads(os.environ.pop("%s"))
os.environ.pop("%s", None)
text = lambda value: os.fsencode(value).decode("utf-8", "surrogateescape")
base = {text(name): text(value) for name, value in os.environ.items()}
try:
    variables = complete(order["executable"], order["environ"], order["pythonpath"], base)
except BadVariable as error:
    sys.exit("gym-service: %%s" %% error)
if order["cwd"]:
    os.chdir(order["cwd"].encode("utf-8", "surrogateescape"))
data = lambda value: value.encode("utf-8", "surrogateescape")
os.execve(sys.argv[1], sys.argv[1:], {data(name): data(value) for name, value in variables.items()})
""" % (ORDER, STEPS)


def source(script):
    """The step that sources a script. Its output joins the server's output; its input is empty."""
    return ". %s </dev/null >&2" % shlex.quote(script)


def export(name, value):
    """The step that sets a variable, for the scripts after it and for the target."""
    return "export %s=%s" % (name, shlex.quote(value))


def unset(name):
    """The step that unsets a variable."""
    return "unset %s" % name


def words(executable):
    """The words to put before a command of the target with interpreter ``executable``. Raises OSError without a shell.

    Uses bash if there is one: most activation scripts are written for it.
    """
    bash = shutil.which("bash")
    shell = bash or shutil.which("sh")
    if shell is None:
        raise FileNotFoundError(errno.ENOENT, "there is no shell to activate it: neither bash nor sh is on PATH")
    program = env_vars.__loader__.get_source(env_vars.__name__) + STAGE
    return [shell, "-c", BASH if bash else SH, "bash" if bash else "sh", str(executable), "-I", "-S", "-c", program]


def without_words(argv):
    """The command of the target, without the ``words`` before it if it has them."""
    ends = [place for place, word in enumerate(argv) if word.endswith(STAGE)]
    return list(argv[ends[0] + 1 :] if ends else argv)


def variables(executable, steps, environ, pythonpath, cwd, inherited):
    """The variables for ``words``: those that the scripts start with, the steps, and what follows them.

    ``cwd`` is the folder to change to after the scripts; empty to stay where the scripts lead.
    """
    order = {
        "executable": str(executable),
        "environ": environ,
        "pythonpath": [str(folder) for folder in pythonpath],
        "cwd": cwd,
    }
    return dict(inherited, **{STEPS: "\n".join(steps), ORDER: json.dumps(order)})
