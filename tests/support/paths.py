"""The folders of the repository, its tests and their simulators. Knows nothing else. Python 3.10 and up."""

from pathlib import Path

TESTS = Path(__file__).absolute().parent.parent
REPOSITORY = TESTS.parent
ENVS = TESTS / "fixture_envs"
