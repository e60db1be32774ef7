"""A post-import hook: calls a function once a module has been imported, without importing it.

Knows Python's import system. Never knows what the function does. Client only; Python 3.10 and up.

``import gym_service`` registers ids in Gymnasium's registry. It must not import Gymnasium for that, because this takes
longer than all of our own imports, and a server that is started before can do its imports at the same time.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def on_import(name: str, act: Callable[[], object]) -> None:
    """Call ``act`` now if the module is loaded, else right after its import, if there is one."""
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _ImportHook(name, act))


class _ImportHook:
    """It stays in ``sys.meta_path`` when it is done: removing a finder makes the import of another thread skip one.

    It has no base class, since ``importlib.abc`` loads fifteen modules that a start does not need.
    """

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self._name = name
        self._act = act
        self._is_done = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that also calls the function.

        It does so for each import until one succeeds, because an import may fail and be tried again.
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
