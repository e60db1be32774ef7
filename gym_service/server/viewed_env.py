"""What a viewer sees of an env: its pictures, rewards, episodes and last info, without an effect on the run.

Knows the adapters and the forms of their results. Never knows who looks or how it travels. Python 3.6 and up.

A picture is rendered only in a render mode whose render has no effect, and ``unnoticed_render.py`` sees to the rest. An
error of the render is shown to the viewer. After some errors in a row, or a render that draws random numbers, there are
no more renders.

While somebody looks, the adapter has attributes that replace its methods ``step`` and ``reset`` (of a batch also
``step_some``, ``reset_some`` and ``note_info``) and note the results. So code that steps an env must call these through
the adapter, and must look them up for each call.
"""

import numpy as np

from gym_service.protocol.plain_text import rows_of
from gym_service.protocol.values import class_name
from gym_service.server.adapters import attributes
from gym_service.server.episode_tally import NUMBERS, as_array, tally_of
from gym_service.server.unnoticed_render import HasEffect

PICTURES, TEXT = ("rgb_array", "depth_array", "rgbd_tuple"), "ansi"
# The methods of an adapter whose results are noted, and the method of the tally. The last three are those of a batch.
NOTED = {"step": "step", "reset": "reset", "step_some": "step", "reset_some": "reset", "note_info": "info"}
MAX_ERRORS = 3
# A larger picture is sent with every second, third, … row and column.
LARGEST_PICTURE_BYTES = 4 * 2**20
TEXT_CHARS = 20000
ERROR_CHARS = 2000


class ViewedEnv:
    """An adapter while somebody looks."""

    def __init__(self, adapter, render):
        """``render`` is the UnnoticedRender of the adapter."""
        self._adapter, self._render = adapter, render
        self._adapters = getattr(adapter, "adapters", [adapter])  # of a batch: one for each env
        self._count = adapter.count or getattr(adapter, "num_envs", 1)
        self._tally = tally_of(adapter, self._count)
        self._errors, self._problem = 0, ""
        for name, note in NOTED.items():
            if hasattr(adapter, name):
                setattr(adapter, name, self._noting(getattr(adapter, name), getattr(self._tally, note)))

    def detach(self):
        """Leave the adapter as it was."""
        for name in NOTED:
            vars(self._adapter).pop(name, None)

    def forget_values(self):
        """Keep no value of the simulator's beyond the call that returned it."""
        self._tally.rewards = self._tally.infos = None

    def has_been_sent(self):
        """The viewer has what ``view`` returned last."""
        self._tally.finished.clear()

    def view(self, count, counters):
        """What there is to see, of at most ``count`` envs: a dict for JSON, and ``arrays``, the pictures."""
        episodes = counters.episodes + getattr(self._adapter, "episodes", 0)
        arrays, text, problem = self._pictures(count) if episodes else ([], "", "there was no reset() yet")
        tally, mode = self._tally, self._mode()
        view = {
            "env": self._name(),
            "render_mode": mode if mode is None or type(mode) is str else class_name(type(mode)),
            "envs": self._count,
            "steps": counters.steps,
            "episodes": episodes,
            "reward_problem": tally.problem,
            "finished": list(tally.finished),
            "info": None if tally.infos is None else rows_of(tally.infos),
            "arrays": arrays,
            "text": text,
            "problem": problem,
        }
        view.update(tally.numbers(min(self._count, count)))
        return view

    # -- results ---------------------------------------------------------------------------------------------------

    def _noting(self, call, note):
        def noting(*args, **kwargs):
            result = call(*args, **kwargs)
            try:
                note(result, args)
            except Exception as error:  # noqa: BLE001 - the border: a fault of the view must not fail a step
                self._tally.problem = "its results cannot be shown: %s" % class_name(type(error))
            return result

        return noting

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
            rendered = self._render(count)
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


def _parts_of(rendered):
    """The pictures in what a render returned: itself, those of a list, or those of an array of pictures."""
    if isinstance(rendered, (list, tuple)):
        return list(rendered)
    is_stack = isinstance(rendered, np.ndarray) and rendered.ndim == 4
    return list(rendered) if is_stack else [rendered]


def _picture(value):
    """A picture as an array (height, width) or (height, width, 1, 3 or 4) of numbers; None if it is none."""
    array = value if isinstance(value, np.ndarray) else as_array(value)
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
