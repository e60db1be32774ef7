"""Tests with whole training libraries run only on request: ``pytest tests/libraries -m integrations``.

LeRobot needs Gymnasium 1.0 and more, and so does its plugin.
"""

import gymnasium
import pytest

collect_ignore_glob = ["test_lerobot*.py"] if gymnasium.__version__.startswith("0.") else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "integrations" in config.getoption("-m"):
        return
    left_out = [item for item in items if item.get_closest_marker("integrations")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("integrations")]
