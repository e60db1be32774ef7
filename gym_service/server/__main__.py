"""The server program: it drives one env over one channel. The target's interpreter runs it by path.

Contract::

    PYTHON -u .../gym_service/server --fd N         the channel is the inherited socket N
    PYTHON -u .../gym_service/server --stdio MARK   the channel is fd 0 and fd 1; it begins after MARK (hex) on fd 1
    ... --no-import         refuse imports, entry points and callables that a client names
    ... --no-pickle         refuse callables that a client sends pickled; callables that it names are imported
    ... --allow ID          make only this id (repeatable); "module:Env" for an id whose module must be imported first
    ... --arena N           pass large arrays through shared memory, whose descriptors arrive on the inherited socket N
    ... --negotiate-arena BYTES:NAME   the client first sends BYTES bytes. They say where the arena's socket is, if
                            there is one: passed beside them, or at the abstract socket NAME + BYTES (endpoints.py)
    ... --counters FD:BEGUN:ANSWERED:STEPS:READY:ID   count calls and steps in the inherited memory FD, at these offsets
                            (counters.py)
    ... --viewers OFFSET:PATH   the record of this server, where ``gym-service view`` says that somebody looks
                            (viewer_link.py)
    ... --debugged          tell the client that this server runs under a debugger, so that it waits without a limit
    ... --dump-signal N     signal N writes the Python stack to stderr

The server runs until the client closes the channel. Then it closes the env and exits with 0. The simulator's output
goes to stdout and stderr (under --stdio: to stderr alone). Exit codes of the server itself: 2 for a wrong command line,
3 for an interpreter that is too old. The launcher's forkserver.py calls the public functions of this file in the
servers that it forks.

Knows its own path. Every Python must be able to parse this file, so that an old one prints a sentence and not a
SyntaxError. The rest of the server needs Python 3.6 and numpy.
"""

import os
import sys

EXIT_USAGE, EXIT_TOO_OLD = 2, 3
# The options that take a value.
VALUED = ("--fd", "--stdio", "--arena", "--negotiate-arena", "--counters", "--dump-signal", "--allow", "--viewers")


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
    """Run the server that this command line describes until its client disconnects. Returns the exit code.

    It works wherever ``gym_service`` can be imported, also from memory (a server that a command starts).
    ``preloaded``: what ``preload`` returned in the process that this one was forked from.
    """
    options = _options(argv)
    if not options:
        sys.stderr.write(
            "gym-service: usage: server --fd N | --stdio MARK [--arena N | --negotiate-arena BYTES:NAME] "
            "[--counters FD:...] [--dump-signal N] [--no-import | --no-pickle] [--allow ID] "
            "[--viewers OFFSET:PATH] [--debugged]\n"
        )
        return EXIT_USAGE
    if "--dump-signal" in options:
        import faulthandler

        faulthandler.register(int(options["--dump-signal"]))
    if preloaded is None:
        collect_again = _import_quickly()
    # Redirect the descriptors before any further import: a simulator may print from C as soon as it loads.
    from gym_service.server import counters

    counts = counters.Counters(options["--counters"]) if "--counters" in options else None
    channel = _channel(options, counts)
    if channel is None:
        return EXIT_USAGE

    from gym_service.server import loop, permissions

    names = "--no-import" not in options
    rules = permissions.Permissions(names, names and "--no-pickle" not in options, options["--allow"])
    warned = preloaded.after_fork() if preloaded else ()
    viewers = _viewers(options)
    if preloaded is None:
        collect_again()
    loop.serve(channel, rules, counts, warned, "--debugged" in options, viewers)
    return 0


def _channel(options, counts):
    """The channel that the options describe; None where it cannot be one."""
    from gym_service.server import endpoints

    arena = endpoints.open_arena(int(options["--arena"])) if "--arena" in options else None
    if "--stdio" in options:
        return endpoints.open_stdio(options["--stdio"], arena)
    if counts:
        counts.mark_ready()  # the idle time of a client that sends nothing starts here
    return endpoints.open_socket(options["--fd"], arena, options.get("--negotiate-arena", ""))


def _viewers(options):
    """The link to this server's viewers; None where it can have none."""
    if "--viewers" not in options:
        return None
    from gym_service.server import viewer_link

    return viewer_link.open_link(options["--viewers"])


def _import_quickly():
    """Keep from the following imports what would slow them. Returns a function to call after them."""
    import gc

    from gym_service.server import blas_threads

    stop = blas_threads.end_once_loaded()
    if not gc.isenabled():
        return stop
    gc.disable()  # imports make many objects that stay, and hardly any garbage

    def collect_again():
        stop()
        if hasattr(gc, "freeze"):  # new in Python 3.7
            # Together they make all objects old, so that the first collections need not look at them.
            gc.freeze()  # novermin
            gc.unfreeze()  # novermin
        gc.enable()

    return collect_again


def preload(recipe):
    """Import the server and everything that an env's recipe names, in a process that forks servers later."""
    from gym_service.server.preload import Preloaded

    return Preloaded(recipe)


def _options(argv):
    """The options by name; empty if the command line is wrong. Not argparse: it loads slowly and prints too much."""
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
    """Make ``gym_service`` an importable package at this file's location, without running its ``__init__``.

    That ``__init__`` registers ids and imports Gymnasium, which only the client needs. This also removes the folder
    that Python put first on sys.path, this file's own: its module names would shadow the simulator's.
    """
    import types

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    package = types.ModuleType("gym_service")
    package.__path__ = [os.path.dirname(here)]
    sys.modules["gym_service"] = package


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
