"""Renders an env for a viewer and leaves it as it was, so that the run and its own pictures stay the same.

Knows the attributes of an env and of its wrappers, and the viewers of Gymnasium's MuJoCo envs. Never knows who looks.
Python 3.6 and up.

What is put back after a render:

1. The random generators that it has drawn from (``random_states.py``). Then there is no further render.
2. Numbers among the attributes that every render changes, such as the counter of an animation. What only the first
   render changes is the set-up of the drawing, and stays. Therefore the first render is followed by a second one. If
   every render changes the length of a list, a dict or the like, there is no further render.
3. The viewers of a MuJoCo env. Their camera follows the robot smoothly, so a picture depends on those before it. The
   renders here have viewers of their own.
4. Warnings reach nobody, and leave no trace in the registries by which Python shows a warning once. The first check of
   a render by Gymnasium's PassiveEnvChecker is still the trainer's.

What a render prints is not held back. State in other objects than the env and its wrappers is not found.
"""

import atexit
import collections
import warnings

import numpy as np

from gym_service.server.adapters import detection
from gym_service.server.random_states import RandomStates, vars_of

NUMBERS = (int, float, np.number)
CONTAINERS = (list, dict, set, collections.deque)


class HasEffect(Exception):
    """A render has an effect. It is undone as far as possible, but to render again would be wrong."""


class UnnoticedRender:
    """Renders an adapter for viewers. One object for the life of the adapter: it keeps what the drawing needs."""

    def __init__(self, adapter):
        self.adapter = adapter
        self._viewers = {}  # of our own, by the id of the object that holds them: (viewer, all of them)
        self._are_set_up = set()  # the ids of the adapters that have been rendered
        self._effect = ""

    def __call__(self, count):
        """What each of the first ``count`` envs renders. Raises HasEffect, and what a render raises."""
        if self._effect:
            raise HasEffect(self._effect)
        try:
            return self._render_all(getattr(self.adapter, "adapters", [self.adapter]), count)
        except HasEffect as error:
            self._effect = str(error)
            raise

    def close(self):
        """Free the viewers of our own."""
        atexit.unregister(self.close)
        for _, viewers in self._viewers.values():
            for viewer in viewers.values():
                if hasattr(viewer, "free"):
                    viewer.free()
        self._viewers.clear()

    def _render_all(self, adapters, count):
        layers = [layer for adapter in adapters[:count] for layer in detection.layers(adapter.env)]
        states = RandomStates(layers)
        checkers = [layer for layer in layers if vars_of(layer).get("checked_render") is False]
        try:
            with _Unwarned():
                rendered = [self._render_one(adapter) for adapter in adapters[:count]]
        finally:
            for layer in checkers:
                layer.checked_render = False
            if self._viewers:  # the GL context that was current is that of the last one
                for adapter in adapters:
                    for holder in _viewer_holders(adapter):
                        _make_current(holder.viewer)
            changed = states.restore_changed()
        if changed:
            raise HasEffect("its render() draws from %s" % changed)
        return rendered

    def _render_one(self, adapter):
        """Render with viewers of our own. Put back the numbers that every render changes."""
        layers = detection.layers(adapter.env)
        before = between = _state_of(layers)
        try:
            rendered = self._render_in_own_viewers(adapter)
            if id(adapter) not in self._are_set_up:
                between = _state_of(layers)
                rendered = self._render_in_own_viewers(adapter)
                self._are_set_up.add(id(adapter))
        finally:
            grown = _put_back(before, between, _state_of(layers))
        if grown:
            raise HasEffect("each render() changes %s" % grown)
        return rendered

    def _render_in_own_viewers(self, adapter):
        holders = _viewer_holders(adapter)
        theirs = [(holder.viewer, holder._viewers) for holder in holders]
        if holders and not self._viewers:
            atexit.register(self.close)  # this runs before MuJoCo's own, which ends the display
        for holder in holders:
            holder.viewer, holder._viewers = self._viewers.get(id(holder), (None, {}))
            _make_current(holder.viewer)
        try:
            return adapter.render()
        finally:
            for holder, (viewer, viewers) in zip(holders, theirs):
                self._viewers[id(holder)] = holder.viewer, holder._viewers
                holder.viewer, holder._viewers = viewer, viewers


class _Place:
    """An attribute of a layer, as a key of a dict."""

    def __init__(self, layer, name):
        self.layer, self.name = layer, name

    def __eq__(self, other):
        return self.layer is other.layer and self.name == other.name

    def __hash__(self):
        return hash((id(self.layer), self.name))


def _state_of(layers):
    """The numbers among the attributes of the layers, and the lengths of their containers, by their places."""
    found = {}
    for layer in layers:
        for name, value in list(vars_of(layer).items()):
            if isinstance(value, NUMBERS) and not isinstance(value, bool):
                found[_Place(layer, name)] = value
            elif type(value) in CONTAINERS:
                found[_Place(layer, name)] = _Length(len(value))
    return found


class _Length(int):
    """A container's length."""


def _put_back(before, between, after):
    """Put back each number that the last render has changed. Returns the names of containers that it has changed."""
    grown = []
    for place, value in after.items():
        if place in before and place in between and not _equal(value, between[place]):
            if type(value) is _Length:
                grown.append(place.name)
                _shorten(vars_of(place.layer)[place.name], before[place])
            else:
                vars_of(place.layer)[place.name] = before[place]
    return ", ".join(grown)


def _shorten(container, length):
    """Take off what was appended. What was added to a dict or a set stays."""
    while type(container) in (list, collections.deque) and len(container) > length:
        container.pop()


def _equal(one, two):
    return type(one) is type(two) and (one == two or (one != one and two != two))


class _Unwarned:
    """No warning of this block reaches anybody or counts as shown."""

    def __enter__(self):
        # Not warnings.catch_warnings: that clears the registries, so that old warnings would be shown again. A filter
        # "always" at the front neither reads nor writes them.
        self._filters, self._show = warnings.filters, warnings.showwarning
        self._filter = ("always", None, Warning, None, 0)
        self._filters.insert(0, self._filter)
        warnings.showwarning = _show_nowhere

    def __exit__(self, kind, error, traceback):
        if warnings.showwarning is _show_nowhere:
            warnings.showwarning = self._show
        if self._filter in self._filters:
            self._filters.remove(self._filter)


def _show_nowhere(*args, **kwargs):
    """Replaces ``warnings.showwarning`` during a render for a viewer."""


def _viewer_holders(adapter):
    """The objects that hold the viewers of a MuJoCo env: its renderer, or itself before Gymnasium 0.28."""
    bare = detection.layers(adapter.env)[-1]
    places = [vars_of(bare).get("mujoco_renderer"), bare]
    return [each for each in places if type(vars_of(each).get("_viewers")) is dict and "viewer" in vars_of(each)]


def _make_current(viewer):
    if hasattr(viewer, "make_context_current"):
        viewer.make_context_current()
