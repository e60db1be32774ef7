"""Plays an entry for ``gym-service view ENV``: one env, in a thread, while somebody looks.

Knows an env of today's API and a policy. Never knows where they come from or who looks. Python 3.10 and up.

Unlike a run of somebody else, this one may be rendered here: through the client, so also behind a ``command``.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gym_service.errors import GymServiceError
from gym_service.protocol.plain_text import rows_of
from gym_service.viewer.observed import View
from gym_service.viewer.watched import TailOfLog, Watched

DEFAULT_STEPS_PER_S = 30.0
END_S = 10.0


class PlayedEnv(Watched):
    """An env that this process steps. The thread waits while nobody looks."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        policy: Callable[[Any], Callable[[Any], Any]],
        reset: Callable[[Any, int], Any],
        *,
        fps: float,
    ) -> None:
        """Play an env.

        ``make`` makes the env, and ``policy`` what gives an action for an observation; both are called once. ``reset``
        takes the env and the number of the episode, and returns what ``env.reset`` does.
        """
        super().__init__("played", name)
        self._make, self._policy, self._reset, self._fps = make, policy, reset, fps
        self._is_looked_at, self._must_end = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log: TailOfLog | None = None

    def begin(self) -> None:
        self._is_looked_at.set()
        if self._thread is None or not self._thread.is_alive():  # after an error, another look tries again
            self.problem = "starting"
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="gym-service view", daemon=True)
            self._thread.start()

    def end(self) -> None:
        self._is_looked_at.clear()

    def tick(self) -> None:
        if self._log is not None:
            self.output = self._log.read()
        super().tick()

    def close(self) -> None:
        """End the play and close the env. Blocks for END_S at most."""
        self._must_end.set()
        self._is_looked_at.set()
        if self._thread is not None:
            self._thread.join(END_S)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._make()) as env:
                if hasattr(env, "num_envs"):
                    self._call(self._fail, "it is a vector env: a page shows it while a program of yours steps it")
                    return
                self._log = TailOfLog(env.target["pid"])
                play = _Play(env, self._policy(env), self._reset, self._fps, self._show)
                play.run(self._is_looked_at, self._must_end)
        except GymServiceError as error:
            self._call(self._fail, str(error))
        except Exception as error:  # noqa: BLE001 - the border: a policy of the user's may raise anything
            self._call(self._fail, f"the policy raised {type(error).__name__}: {error}")

    def _show(self, view: View) -> None:
        self._call(self.take, [view])

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self.tell()

    def _call(self, function: Callable[..., None], argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            assert self._loop
            self._loop.call_soon_threadsafe(function, argument)


class _Play:
    """Steps an env at its own speed, and shows it at most ``fps`` times per second."""

    def __init__(
        self,
        env: Any,
        policy: Callable[[Any], Any],
        reset: Callable[[Any, int], Any],
        fps: float,
        show: Callable[[View], None],
    ) -> None:
        self._env, self._policy, self._reset, self._fps, self._show = env, policy, reset, fps, show
        self._finished: list[list[Any]] = []
        self._steps = self._episodes = self._length = 0
        self._return = 0.0
        self._due = 0.0

    def run(self, is_looked_at: threading.Event, must_end: threading.Event) -> None:
        """Play until the end. Blocks for as long."""
        pause_s = 1.0 / _steps_per_s(self._env)
        over, observation = True, None
        while not must_end.is_set():
            is_looked_at.wait()
            began = time.monotonic()
            if over:
                observation, info = self._reset(self._env, self._episodes)
                self._episodes += 1
                self._return, self._length, reward = 0.0, 0, None
                over = False
            else:
                observation, reward, terminated, truncated, info = self._env.step(self._policy(observation))
                over = bool(terminated or truncated)
                self._count(reward, over)
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + 1.0 / self._fps
                self._show(self._view(reward, info))
            must_end.wait(max(0.0, pause_s - (time.monotonic() - began)))

    def _count(self, reward: Any, over: bool) -> None:
        self._steps += 1
        self._length += 1
        if np.size(reward) == 1:
            self._return += float(reward)
        if over:
            self._finished.append([self._return, self._length, 0])

    def _view(self, reward: Any, info: Any) -> View:
        finished, self._finished = self._finished, []
        began = time.monotonic()
        rendered, problem = self._rendered()
        facts = {
            "env": self._env.target["env"],
            "render_mode": self._env.render_mode,
            "envs": 1,
            "steps": self._steps,
            "episodes": self._episodes,
            "returns": [self._return],
            "lengths": [self._length],
            "are_whole": [True],
            "rewards": [float(reward)] if reward is not None and np.size(reward) == 1 else None,
            "reward_problem": "",
            "finished": finished,
            "info": rows_of(info),
            "text": rendered if isinstance(rendered, str) else "",
            "problem": problem,
            "render_s": time.monotonic() - began,
        }
        return View(facts, [rendered] if isinstance(rendered, np.ndarray) else [])

    def _rendered(self) -> tuple[Any, str]:
        try:
            rendered = self._env.render()
        except GymServiceError as error:
            return None, f"its render() failed: {str(error).strip()}"
        if isinstance(rendered, str):
            return rendered, ""
        if isinstance(rendered, np.ndarray) and rendered.ndim in (2, 3) and rendered.dtype.kind in "buif":
            return rendered, ""
        return None, f"render() returned a {type(rendered).__name__}, which is no picture"


def _steps_per_s(env: Any) -> float:
    try:
        fps = float(env.metadata.get("render_fps") or 0)
    except (TypeError, ValueError):
        fps = 0.0
    return fps if 0 < fps < 1000 else DEFAULT_STEPS_PER_S
