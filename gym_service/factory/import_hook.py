"""Something to do once a module has been imported, without importing it.

Knows Python's import system. Never knows what is done. Client only; Python 3.10 and up.

Why: ``import gym_service`` puts ids into Gymnasium's registry. Importing Gymnasium for that takes longer than anything
of ours, and a server that is started first can import its own meanwhile.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def on_import(name: str, act: Callable[[], object]) -> None:
    """Call ``act`` at once where the module is there, else at the moment when it is; never where nobody imports it."""
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _ImportHook(name, act))


class _ImportHook(MetaPathFinder):
    """Stays among the finders when all is done: whoever takes one away makes another thread's import skip the next."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name = name
        self._act = act
        self._is_done = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as it is found without this, but for what is done after it has run.

        As often as it is looked for until it has run: an import may fail, or be broken off, and be tried again.
        """
        if self._is_done or fullname != self._name or self not in sys.meta_path:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                self._wait_for(spec)
                return spec
        return None

    def _wait_for(self, spec: ModuleSpec) -> None:
        if spec.loader is None:
            return
        execute = spec.loader.exec_module

        def execute_and_act(module: ModuleType) -> None:
            execute(module)
            # Some loaders, zipimporter is one, load other modules too.
            if module.__name__ == self._name and not self._is_done:
                self._is_done = True
                self._act()

        spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
