"""The server: one env, driven over one channel. Run by path, in the target's interpreter, with nothing of ours there.

Contract::

    PYTHON -u .../gym_service/server --fd N         the channel is the inherited socket N
    PYTHON -u .../gym_service/server --stdio MARK   the channel is fd 0 and fd 1; it begins after MARK (hex) on fd 1
    ... --no-import                                 refuse imports, entry points and callables that a client names

It serves until the client closes the channel, then closes the env and exits with 0. What the simulator prints goes
to stdout and stderr (under --stdio: to stderr alone). Exit codes of its own: 2 for a wrong command line, 3 for an
interpreter that is too old.

Knows where it lies. This file must be readable by every Python, so that an old one gets a sentence and no
SyntaxError; the rest of the server needs Python 3.6 and numpy.
"""

import os
import sys

EXIT_USAGE, EXIT_TOO_OLD = 2, 3


def main(argv):
    if sys.version_info < (3, 6):
        sys.stderr.write(
            "gym-service: the simulator's interpreter is Python %d.%d (%s); the server needs 3.6 or newer\n"
            % (sys.version_info[0], sys.version_info[1], sys.executable)
        )
        return EXIT_TOO_OLD
    options = list(argv)
    allow_import = "--no-import" not in options
    if not allow_import:
        options.remove("--no-import")
    if len(options) != 2 or options[0] not in ("--fd", "--stdio"):
        sys.stderr.write("gym-service: usage: server --fd N | --stdio MARK [--no-import]\n")
        return EXIT_USAGE
    _become_importable()
    # Before anything else is imported: a simulator may print from C the moment it loads.
    from gym_service.server import stdio

    channel = stdio.open_socket(int(options[1])) if options[0] == "--fd" else stdio.open_stdio(options[1])
    if channel is None:
        return EXIT_USAGE

    from gym_service.server import loop

    loop.serve(channel, allow_import)
    return 0


def _become_importable():
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
