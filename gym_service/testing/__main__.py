"""``python -m gym_service.testing ENV_ID …``: the checks on a command line. Python 3.10 and up.

Exit codes: 0 where nothing failed, 1 where something did, 2 for a wrong command line or configuration.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from gym_service.errors import ConfigError
from gym_service.testing import CHECKS, CheckFailed, check_service_env


def main(words: Sequence[str] | None = None) -> int:
    """Check, print a line for each finding, return the exit code."""
    options = vars(_parser().parse_args(words))
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        check_service_env(given.pop("env_id"), progress=lambda line: print(line, flush=True), **given)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except CheckFailed:
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "Check that an env gives through gym-service what it gives by itself, in its own interpreter."
    parser = argparse.ArgumentParser(prog="python -m gym_service.testing", description=about)
    parser.add_argument("env_id", help="its id; without --python a key of envs.toml")
    parser.add_argument("--python", help="its interpreter: a venv, an executable, a version, conda:NAME")
    parser.add_argument("--import", dest="imports", action="append", metavar="MODULE", help="imported there first")
    parser.add_argument("--pythonpath", action="append", metavar="FOLDER", help="importable there")
    parser.add_argument("--entry-point", metavar="MODULE:CALLABLE", help="in place of a registered id")
    parser.add_argument("--kwargs", type=json.loads, metavar="JSON", help="keywords for the env")
    parser.add_argument("--render-mode", help="render in each play, every tenth step")
    parser.add_argument("--options", type=json.loads, metavar="JSON", help="for every reset that is seeded")
    parser.add_argument("--seed", dest="seeds", type=int, action="append", metavar="N", help="a play for each")
    parser.add_argument("--steps", type=int, help="of each play")
    parser.add_argument("--only", dest="checks", action="append", choices=CHECKS, help="these checks alone")
    parser.add_argument("--nondeterministic", dest="deterministic", action="store_const", const=False, help="see docs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
