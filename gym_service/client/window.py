"""A window on this machine for the frames of an env elsewhere, for ``render_mode="human"``.

Knows pygame, which it imports when a window is opened. Never knows an env. Python 3.10 and up.
"""

import os
import sys
from typing import Any

import numpy as np

from gym_service.errors import ConfigError

DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY")
INSTEAD = '  try: gym-service record ENV -o FILE.mp4, or render_mode="rgb_array"'


def require() -> Any:
    """pygame with a display. Raises ConfigError with advice if this machine lacks either."""
    has_display = any(os.environ.get(name) for name in (*DISPLAY_VARIABLES, "SDL_VIDEODRIVER"))
    if sys.platform == "linux" and not has_display:  # SDL would draw on the console or nowhere
        text = 'render_mode = "human": neither the simulator nor this process has a display'
        raise ConfigError(f"{text}\n{INSTEAD}", file=None, key="render_mode")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        text = f'render_mode = "human": the simulator has no display, and a window here needs pygame: {error}'
        raise ConfigError(f'{text}\n  try: pip install "gym-service[window]"', file=None, key="render_mode") from error
    try:
        pygame.display.init()
    except pygame.error as error:
        text = f'render_mode = "human": the display of this process cannot be used: {error}'
        raise ConfigError(f"{text}\n{INSTEAD}", file=None, key="render_mode") from error
    return pygame


class Window:
    """The one window of this process. pygame has one; a later env takes it over."""

    def __init__(self, title: str, fps: float | None) -> None:
        """Does not open the window yet. Raises ConfigError as ``require``."""
        self._pygame = require()
        self._title = title
        self._fps = fps
        self._clock = self._pygame.time.Clock()
        self._screen: Any = None
        self._is_closed = False

    def show(self, frame: np.ndarray) -> None:
        """Show a frame, (height, width, 3) of uint8. Blocks until it is due at the env's frame rate.

        If the user closes the window, the env continues without it.
        """
        pygame = self._pygame
        if self._is_closed:
            return
        size = frame.shape[1], frame.shape[0]
        if self._screen is None or self._screen.get_size() != size:
            self._screen = pygame.display.set_mode(size)
            pygame.display.set_caption(self._title)
        self._screen.blit(pygame.image.frombuffer(np.ascontiguousarray(frame).tobytes(), size, "RGB"), (0, 0))
        pygame.display.flip()
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()
        if self._fps:
            self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window. May be called repeatedly."""
        if not self._is_closed:
            self._is_closed = True
            self._pygame.display.quit()
