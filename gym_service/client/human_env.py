"""An env in another interpreter whose frames appear in a window of this process: ``render_mode="human"``.

Knows RemoteEnv and the window. Never knows why the window is here: ``factory/human.py`` does. Python 3.10 and up.
"""

from typing import Any

import numpy as np

from gym_service.client.env import RemoteEnv
from gym_service.client.window import Window
from gym_service.errors import CannotCross

RENDERED_CHANNELS = 3


class WindowedEnv(RemoteEnv):
    """A RemoteEnv made with ``rgb_array`` that shows each frame, as Gymnasium's HumanRendering does."""

    def open_window(self) -> None:
        """Show the env from now on. Raises ConfigError if no window can be opened."""
        fps = self.metadata.get("render_fps")
        shown = Window(f"{self._target['env']} (gym-service)", float(fps) if isinstance(fps, int | float) else None)
        # RemoteEnv sets assigned attributes in the simulator. This bypasses it, since the simulator keeps rgb_array.
        object.__setattr__(self, "_window", shown)
        object.__setattr__(self, "render_mode", "human")

    def reset(self, *args: Any, **more: Any) -> tuple[Any, dict[str, Any]]:
        """As RemoteEnv. Also shows the frame."""
        result = super().reset(*args, **more)
        self._show()
        return result

    def step(self, action: Any, *args: Any, **more: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As RemoteEnv. Also shows the frame, and blocks until it is due."""
        result = super().step(action, *args, **more)
        self._show()
        return result

    def step_wait(self) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As RemoteEnv. Also shows the frame."""
        result = super().step_wait()
        self._show()
        return result

    def render(self, *args: Any, **more: Any) -> None:
        """Do nothing: each frame is already shown when it arrives."""

    def close(self) -> None:
        """Close the window and the simulator."""
        if "_window" in self.__dict__:
            self.__dict__["_window"].close()
        super().close()

    def _show(self) -> None:
        window = self.__dict__.get("_window")
        if window is None:
            return
        frame = super().render()
        is_picture = isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == RENDERED_CHANNELS
        if not is_picture or frame.shape[2] < RENDERED_CHANNELS:
            kind = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise CannotCross(f"$.frame is {kind}: a window shows arrays of uint8 (height, width, 3)", path="$.frame")
        window.show(frame[:, :, :RENDERED_CHANNELS])
