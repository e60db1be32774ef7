"""What a viewer sees of an env: its pictures, rewards, episodes and last info, without an effect on the run.

Knows the adapters and the forms of their results. Never knows who looks or how it travels. Python 3.6 and up.

A picture is rendered only in a render mode whose render has no effect, and ``unnoticed_render.py`` sees to the rest. An
error of the render is shown to the viewer. After some errors in a row, or a render that draws random numbers, there are
no more renders.

While somebody looks, the adapter has attributes that replace its methods ``step`` and ``reset`` (of a batch also
``step_some``, ``reset_some`` and ``note_info``) and note the results. So code that steps an env must call these through
the adapter, and must look them up for each call.
"""

from collections import deque

import numpy as np

from gym_service.protocol.array_likes import is_array_like, to_numpy
from gym_service.protocol.plain_text import rows_of
from gym_service.protocol.values import class_name
from gym_service.server.adapters import attributes
from gym_service.server.adapters.pettingzoo import MultiAgentAdapter
from gym_service.server.unnoticed_render import HasEffect

PICTURES, TEXT = ("rgb_array", "depth_array", "rgbd_tuple"), "ansi"
# The methods of an adapter whose results are noted, and what notes them. The last three are those of a batch.
NOTED = {
    "step": "_note_step",
    "reset": "_note_reset",
    "step_some": "_note_step",
    "reset_some": "_note_reset",
    "note_info": "_note_info",
}
MAX_ERRORS = 3
MAX_FINISHED = 500
# A larger picture is sent with every second, third, … row and column.
LARGEST_PICTURE_BYTES = 4 * 2**20
TEXT_CHARS = 20000
ERROR_CHARS = 2000
# The kinds of dtypes that rewards and pictures have.
NUMBERS = "buif"


class ViewedEnv:
    """An adapter while somebody looks."""

    def __init__(self, adapter, render):
        """``render`` is the UnnoticedRender of this process."""
        self._adapter, self._render = adapter, render
        self._adapters = getattr(adapter, "adapters", [adapter])  # of a batch: one for each env
        self._count = adapter.count or getattr(adapter, "num_envs", 1)
        self._returns = np.zeros(self._count)
        self._lengths = np.zeros(self._count, np.int64)
        # Whether the viewer has seen the episode from its first step on.
        self._is_whole = np.zeros(self._count, np.bool_)
        self._is_over = np.zeros(self._count, np.bool_)
        self._resets_in_next_step = _resets_in_next_step(adapter)
        self._finished = deque(maxlen=MAX_FINISHED)
        self._rewards = self._infos = None  # of the last step, until the end of its call
        self._note_problem = ""
        self._errors, self._problem = 0, ""
        for name, note in NOTED.items():
            if hasattr(adapter, name):
                setattr(adapter, name, self._noting(getattr(adapter, name), getattr(self, note)))

    def detach(self):
        """Leave the adapter as it was."""
        for name in NOTED:
            vars(self._adapter).pop(name, None)

    def forget_values(self):
        """Keep no value of the simulator's beyond the call that returned it."""
        self._rewards = self._infos = None

    def has_been_sent(self):
        """The viewer has what ``view`` returned last."""
        self._finished.clear()

    def view(self, count, counters):
        """What there is to see, of at most ``count`` envs: a dict for JSON, and ``arrays``, the pictures."""
        episodes = counters.episodes + getattr(self._adapter, "episodes", 0)
        arrays, text, problem = self._pictures(count) if episodes else ([], "", "there was no reset() yet")
        size, mode = min(self._count, count), self._mode()
        return {
            "env": self._name(),
            "render_mode": mode if mode is None or type(mode) is str else class_name(type(mode)),
            "envs": self._count,
            "steps": counters.steps,
            "episodes": episodes,
            "returns": self._returns[:size].tolist(),
            "lengths": self._lengths[:size].tolist(),
            "are_whole": self._is_whole[:size].tolist(),
            "rewards": None if self._rewards is None else self._rewards[:size].tolist(),
            "reward_problem": self._note_problem,
            "finished": list(self._finished),
            "info": None if self._infos is None else rows_of(self._infos),
            "arrays": arrays,
            "text": text,
            "problem": problem,
        }

    # -- results ---------------------------------------------------------------------------------------------------

    def _noting(self, call, note):
        def noting(*args, **kwargs):
            result = call(*args, **kwargs)
            try:
                note(result, args)
            except Exception as error:  # noqa: BLE001 - the border: a fault of the view must not fail a step
                self._note_problem = "its results cannot be shown: %s" % class_name(type(error))
            return result

        return noting

    def _note_step(self, result, args):
        rewards, ended, infos, at = self._parts(result, args)
        self._infos = infos if infos is not None else self._infos
        self._lengths[at] += np.logical_not(self._is_over[at])
        self._is_over[at] = np.logical_and(ended, self._resets_in_next_step)
        if rewards is None:
            self._note_problem = "its rewards are not numbers, one for each env"
        else:
            self._note_problem = ""
            self._rewards = rewards
            self._returns[at] += rewards
        for index in np.arange(self._count)[at][ended]:
            if self._is_whole[index] and rewards is not None:
                self._finished.append((float(self._returns[index]), int(self._lengths[index]), int(index)))
            self._begin(index)

    def _note_reset(self, result, args):
        self._is_over[:] = False
        if self._adapter.count is None:
            self._begin(slice(None))
            self._infos = result[1] if type(result) is tuple and len(result) == 2 else None
        elif len(args) == 3:  # (seeds, options, mask) of a batch
            mask = args[2]
            for index in range(self._count):
                if mask is None or mask[index]:
                    self._begin(index)
        else:  # (triples, infos)
            for triple in args[0]:
                self._begin(triple[0])

    def _note_info(self, result, args):
        index, info = args
        if index == 0:
            self._infos = info

    def _begin(self, at):
        self._returns[at] = 0.0
        self._lengths[at] = 0
        self._is_whole[at] = True

    def _parts(self, result, args):
        """(rewards or None, which envs' episodes are over, info or None, the envs that have stepped)."""
        everything = slice(None)
        if self._adapter.count is not None:
            rewards, ended = self._adapter.rewards_and_ends()
            if result is None:  # step_some(pairs, infos)
                at = [pair[0] for pair in args[0]]
                return rewards[at], ended[at], None, at
            return np.array(rewards), np.array(ended), None, everything
        if isinstance(self._adapter, MultiAgentAdapter):
            is_turn = not isinstance(result[0], dict)
            rewards, agents = result[2 if is_turn else 1], result[0 if is_turn else 5]
            total = sum(map(float, rewards.values())) if _are_numbers(rewards.values()) else None
            infos = result[6] if is_turn and len(result) > 6 else None if is_turn else result[4]
            return (None if total is None else np.array([total])), np.array([not agents]), infos, everything
        if type(result) is not tuple or len(result) != 5:
            return None, np.zeros(self._count, np.bool_), None, everything
        _, reward, terminated, truncated, info = result
        ended = _of_each(terminated, self._count), _of_each(truncated, self._count)
        known = [flags.astype(np.bool_) for flags in ended if flags is not None]
        over = np.any(known, axis=0) if known else np.zeros(self._count, np.bool_)
        return _of_each(reward, self._count), over, info, everything

    # -- pictures --------------------------------------------------------------------------------------------------

    def _name(self):
        return type(attributes.bare(self._adapters[0].env)).__name__

    def _mode(self):
        return self._adapters[0].current_render_mode()

    def _pictures(self, count):
        """(arrays, text, problem)."""
        mode = self._mode()
        refusal = refusal_of(mode) or self._problem
        if refusal:
            return [], "", refusal
        try:
            rendered = self._render(self._adapters, count)
        except HasEffect as error:
            self._problem = "%s, so it is not called again: pictures would change the run" % error
            return [], "", self._problem
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border: an observer's error is not the trainer's
            return [], "", self._failed(error)
        self._errors = 0
        if mode == TEXT:
            texts = [str(each) if type(each) is str else "no text: %s" % class_name(type(each)) for each in rendered]
            return [], "\n\n".join(texts)[:TEXT_CHARS], ""
        most = 2 * count if mode == "rgbd_tuple" else count
        found = [picture for each in rendered for picture in _parts_of(each)][:most]
        arrays = [array for array in map(_picture, found) if array is not None]
        if len(arrays) < len(found) or not found:
            wrong = next((each for each in found if _picture(each) is None), None)
            return arrays, "", "render() returned %s, which is no picture" % _described(wrong)
        return arrays, "", ""

    def _failed(self, error):
        self._errors += 1
        try:
            message = str(error)[:ERROR_CHARS]
        except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
            message = "<no message>"
        text = "its render() raised %s: %s" % (class_name(type(error)), message)
        if self._errors >= MAX_ERRORS:
            self._problem = "%s\n%d times in a row, so it is not called again" % (text, self._errors)
            return self._problem
        return text


def refusal_of(mode):
    """Why an env with this render mode is not rendered for a viewer; empty if it is."""
    if isinstance(mode, str) and mode in (*PICTURES, TEXT):
        return ""
    advice = '\n  try: render_mode="rgb_array", where the env is made'
    if mode is None:
        return "it was made without a render_mode, so it has no pictures" + advice
    if not isinstance(mode, str):
        return "its render mode is a %s" % class_name(type(mode)) + advice
    if mode.endswith("_list"):
        text = "each render() in its mode %r empties the list of pictures that the trainer reads"
    elif mode == "human":
        text = "each render() in its mode %r draws in its own window"
    else:
        text = "whether a render() in its mode %r has an effect is not known"
    return text % mode + advice


def _resets_in_next_step(adapter):
    """Whether the step after an end is a reset: of a batch as it says, of a simulator's own as its metadata say."""
    if adapter.count is not None:
        return adapter.resets_in_next_step
    mode = adapter.metadata().get("autoreset_mode") if hasattr(adapter, "num_envs") else None
    return getattr(mode, "value", mode) == "NextStep"


def _are_numbers(values):
    return all(isinstance(value, (int, float, np.number)) for value in values)


def _as_array(value):
    """An array of a number, an array or a framework's array; None for everything else."""
    if isinstance(value, (bool, int, float, np.generic, np.ndarray)):
        return np.asarray(value)
    if isinstance(value, (list, tuple)) and value and _are_numbers(value):
        return np.asarray(value)
    return to_numpy(value)[0] if is_array_like(type(value)) else None


def _of_each(value, count):
    """One number for each env, as an array; None if the value is something else."""
    array = _as_array(value)
    if array is None or array.size != count or array.dtype.kind not in NUMBERS:
        return None
    return array.reshape(count).astype(np.float64)


def _parts_of(rendered):
    """The pictures in what a render returned: itself, those of a list, or those of an array of pictures."""
    if isinstance(rendered, (list, tuple)):
        return list(rendered)
    is_stack = isinstance(rendered, np.ndarray) and rendered.ndim == 4
    return list(rendered) if is_stack else [rendered]


def _picture(value):
    """A picture as an array (height, width) or (height, width, 1, 3 or 4) of numbers; None if it is none."""
    array = value if isinstance(value, np.ndarray) else _as_array(value)
    if array is None or array.dtype.kind not in NUMBERS or not array.size or array.dtype.itemsize > 8:
        return None
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (1, 3, 4)):
        return None
    stride = 1
    while array[::stride, ::stride].nbytes > LARGEST_PICTURE_BYTES:
        stride += 1
    return array[::stride, ::stride]


def _described(value):
    if isinstance(value, np.ndarray):
        return "an array %r of %s" % (value.shape, value.dtype)
    return "nothing" if value is None else "a %s" % class_name(type(value))
