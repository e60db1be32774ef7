"""The server: one env, driven over one channel. Run by path, in the target's interpreter, with nothing of ours there.

Contract::

    PYTHON -u .../gym_service/server --fd N         the channel is the inherited socket N
    PYTHON -u .../gym_service/server --stdio MARK   the channel is fd 0 and fd 1; it begins after MARK (hex) on fd 1
    ... --no-import         refuse imports, entry points and callables that a client names
    ... --no-pickle         refuse callables that a client sends; those that it names are imported
    ... --allow ID          make these ids alone (any number), "module:Env" for one that a module must be imported for
    ... --arena N           large arrays lie in memory that is passed over the inherited socket N
    ... --negotiate-arena BYTES:NAME   the client first sends BYTES bytes, which tell where that socket is, if anywhere:
                            beside them, or at an abstract socket whose name is NAME and those bytes (endpoints.py)
    ... --counters FD:BEGUN:ANSWERED:STEPS:READY:ID   count calls and steps in the inherited memory FD, at those places
                            (counters.py)
    ... --debugged          tell the client that somebody debugs this server, so that it waits without a limit
    ... --dump-signal N     signal N writes the Python stack to stderr

It serves until the client closes the channel, then closes the env and exits with 0. What the simulator prints goes
to stdout and stderr (under --stdio: to stderr alone). Exit codes of its own: 2 for a wrong command line, 3 for an
interpreter that is too old. The launcher's forkserver.py, which forks servers, calls what has no underscore here.

Knows where it lies. This file must be readable by every Python, so that an old one gets a sentence and no
SyntaxError; the rest of the server needs Python 3.6 and numpy.
"""

import os
import sys

EXIT_USAGE, EXIT_TOO_OLD = 2, 3
# The options that a value follows.
VALUED = ("--fd", "--stdio", "--arena", "--negotiate-arena", "--counters", "--dump-signal", "--allow")


def main(argv):
    if sys.version_info < (3, 6):
        sys.stderr.write(
            "gym-service: the simulator's interpreter is Python %d.%d (%s); the server needs 3.6 or newer\n"
            % (sys.version_info[0], sys.version_info[1], sys.executable)
        )
        return EXIT_TOO_OLD
    become_importable()
    return serve(argv)


def serve(argv, preloaded=None):
    """Be the server of such a command line, until its client is done; returns the exit code.

    It can be called wherever ``gym_service`` can be imported: at the other end of a command that is from memory.
    ``preloaded``: what ``preload`` returned in the process that this one was forked from.
    """
    options = _options(argv)
    if not options:
        sys.stderr.write(
            "gym-service: usage: server --fd N | --stdio MARK [--arena N | --negotiate-arena BYTES:NAME] "
            "[--counters FD:...] [--dump-signal N] [--no-import | --no-pickle] [--allow ID] "
            "[--debugged]\n"
        )
        return EXIT_USAGE
    if "--dump-signal" in options:
        import faulthandler

        faulthandler.register(int(options["--dump-signal"]))
    # Before anything else is imported: a simulator may print from C the moment it loads.
    from gym_service.server import counters, endpoints

    counts = counters.Counters(options["--counters"]) if "--counters" in options else None
    arena = endpoints.open_arena(int(options["--arena"])) if "--arena" in options else None
    is_piped = "--stdio" in options
    if is_piped:
        channel = endpoints.open_stdio(options["--stdio"], arena)
    else:
        if counts:
            counts.mark_ready()  # a client that says nothing at all has been idle from here on
        channel = endpoints.open_socket(options["--fd"], arena, options.get("--negotiate-arena", ""))
    if channel is None:
        return EXIT_USAGE

    from gym_service.server import loop, permissions

    names = "--no-import" not in options
    rules = permissions.Permissions(names, names and "--no-pickle" not in options, options["--allow"])
    warned = preloaded.after_fork() if preloaded else ()
    loop.serve(channel, rules, counts, warned, is_debugged="--debugged" in options)
    return 0


def preload(recipe):
    """Import the server, and all that the recipe of an env names: for processes that will be forked from this one."""
    from gym_service.server.preload import Preloaded

    return Preloaded(recipe)


def _options(argv):
    """The options by name; empty where the command line is wrong. Not argparse: it loads slowly, and says too much."""
    options = {"--allow": []}
    words = iter(argv)
    for word in words:
        if word in ("--no-import", "--no-pickle", "--debugged"):
            options[word] = True
            continue
        value = next(words, "")
        if not value or word not in VALUED:
            return {}
        if word == "--allow":
            options[word].append(value)
        else:
            options[word] = value
    return options if ("--fd" in options) != ("--stdio" in options) else {}


def become_importable():
    """Make ``gym_service`` a package that is found where this file lies, without running its ``__init__``.

    Running that would register ids and import Gymnasium: the client's business. The folder that Python put first on
    sys.path, this file's own, goes: its module names would shadow the simulator's.
    """
    import types

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    package = types.ModuleType("gym_service")
    package.__path__ = [os.path.dirname(here)]
    sys.modules["gym_service"] = package


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
