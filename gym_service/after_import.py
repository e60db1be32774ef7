"""Something to do once a module has been imported, without importing it.

Knows Python's import system. Never knows what is done. Client only; Python 3.10 and up.

Why: ``import gym_service`` puts ids into Gymnasium's registry. Importing Gymnasium for that takes longer than anything
of ours, and a server that is started first can import its own meanwhile.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def after_import(name: str, act: Callable[[], object]) -> None:
    """Call ``act`` at once where the module is there, else at the moment when it is; never where nobody imports it."""
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _Awaiting(name, act))


class _Awaiting(MetaPathFinder):
    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name = name
        self._act = act

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as it is found without this, but for what is done after it has run."""
        if fullname != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                self._act()

            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
