"""What needs LeRobot itself runs only when it is asked for: ``pytest tests/lerobot_plugin -m integrations``.

LeRobot needs Gymnasium 1.0 and more, and so does its plugin.
"""

import gymnasium
import pytest

collect_ignore_glob = ["test_*.py"] if gymnasium.__version__.startswith("0.") else []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "integrations: needs a large install, some GB; runs only if -m names it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "integrations" in config.getoption("-m"):
        return
    left_out = [item for item in items if item.get_closest_marker("integrations")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("integrations")]
