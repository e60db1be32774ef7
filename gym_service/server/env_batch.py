"""Several envs in one server, stepped one after another, reset when their episodes end.

Knows adapters and Gymnasium's three ways to begin the next episode. Never knows the wire, nor imports
gymnasium.vector: any gym may stand in the target. Python 3.6 and up. What it does, and what it leaves undone where an
env raises in the middle, is what Gymnasium's SyncVectorEnv does, so that the numbers are the same.
"""

from contextlib import ExitStack

import numpy as np

from gym_service.protocol.results import BatchInfos
from gym_service.protocol.values import BadValue
from gym_service.server import env_factory, refusals
from gym_service.server.observation_stack import make_stack

NEXT_STEP, SAME_STEP, DISABLED = MODES = "NextStep", "SameStep", "Disabled"


def make(recipe):
    """The Batch of a recipe whose ``batch`` says ``count``, ``first_index`` and ``autoreset_mode``.

    It may say ``each``: for each env the keys of the recipe in which it differs.

    Raises whatever the simulator raises; the envs that were made before are closed then.
    """
    plan = recipe["batch"]
    if (
        type(plan["count"]) is not int
        or plan["count"] < 1
        or plan["autoreset_mode"] not in (NEXT_STEP, SAME_STEP, DISABLED)
    ):
        raise BadValue("not a batch: %r" % (plan,))
    with ExitStack() as undo:
        adapters = []
        for own in env_factory.recipes_of(recipe):
            adapters.append(env_factory.make(own))
            undo.callback(adapters[-1].close)
        batch = Batch(adapters, plan["first_index"], plan["autoreset_mode"])
        undo.pop_all()
    return batch


class Batch:
    """Stands where the adapter of a single env stands. Each env is held by an adapter of its own."""

    def __init__(self, adapters, first_index, autoreset_mode):
        self.count = len(adapters)
        self.first_index = first_index
        self.graph_class = adapters[0].graph_class
        self.space_from = adapters[0].space_from
        self._adapters = adapters
        self.at = 0  # the env that is under way, for errors
        self._mode = autoreset_mode
        self._steppers = [adapter.stepper for adapter in adapters]
        self._observations = [None] * self.count
        self._rewards = np.zeros(self.count, np.float64)
        self._terminations = np.zeros(self.count, np.bool_)
        self._truncations = np.zeros(self.count, np.bool_)
        self._ended = [False] * self.count  # whose episode is over, and who has not begun the next one by itself
        self._infos = BatchInfos(first_index)  # of the call under way
        self._stack = None

    @property
    def error_context(self):
        """Which env is under way, as a line for an error."""
        return "in sub-environment %d of the vector env:\n" % (self.first_index + self.at)

    def describe(self):
        """What the client must know of the first env. Raises RuntimeError where another has other spaces."""
        first = self._adapters[0]
        description = first.describe()
        for index, adapter in enumerate(self._adapters):
            self.at = index
            for name in ("observation_space", "action_space"):
                one, other = first.space(name), adapter.space(name)
                if one != other:
                    raise RuntimeError("the sub-environments differ in %s: %r and %r" % (name, one, other))
        self._stack = make_stack(description["observation_space"], self.count)
        return description

    def stacked(self, observations, offers):
        """The observations as one, in arrays (count, …) that the next call overwrites; None where they do not fit.

        Large leaves are written where ``offers``, memory for all envs of the vector env, has the rows of these.
        """
        self._stack.attach_memory(iter(offers) if offers else None, self.first_index)
        return self._stack.value if self._stack.write_rows(observations) else None

    def reset(self, seeds, options, mask):
        """Begin an episode in each env, or in those that ``mask`` names; gives what ``step`` gives.

        ``options`` are for all envs, or a list of those of each.
        """
        each = options if type(options) is list else [options] * self.count
        if len(each) != self.count:
            raise BadValue("options of %d envs for %d" % (len(each), self.count))
        chosen = [index for index in range(self.count) if mask is None or mask[index]]
        if self._infos.count:
            self._infos = BatchInfos(self.first_index)
        for index in chosen:
            self._terminations[index] = self._truncations[index] = self._ended[index] = False
        for index in chosen:
            self.at = index
            self._reset_one(index, seeds[index], each[index])
        return self._result()

    def step(self, actions):
        """(observations, rewards, terminations, truncations, infos): see ``results.encode_batch``."""
        if len(actions) != self.count:
            raise BadValue("%d actions for %d envs" % (len(actions), self.count))
        if self._infos.count:
            self._infos = BatchInfos(self.first_index)
        if self._mode == SAME_STEP:
            self._step_all(enumerate(actions), self._reset_at_once)
        else:
            self._step_all(enumerate(actions), None)
            # Only now: where an env has raised, those before it are reset once more, as they are in SyncVectorEnv.
            self._ended = np.logical_or(self._terminations, self._truncations).tolist()
        return self._result()

    def step_some(self, pairs, infos):
        """Step some envs, (index, action) each, in this order; ``infos`` takes their infos.

        An env that raises ends it: ``at`` says which one. Those before it have made their step, and count.
        """
        kept, self._infos, has_raised = self._infos, infos, True
        try:
            self._step_all(pairs, self._reset_at_once if self._mode == SAME_STEP else None)
            has_raised = False
        finally:
            self._infos = kept
            if self._mode != SAME_STEP:
                ended = np.logical_or(self._terminations, self._truncations).tolist()
                for index, _ in pairs:
                    if has_raised and index == self.at:
                        break
                    self._ended[index] = ended[index]

    def reset_some(self, triples, infos):
        """Begin an episode in some envs, (index, seed, options) each; as ``step_some``."""
        kept, self._infos = self._infos, infos
        try:
            for index, seed, options in triples:
                self.at = index
                self._terminations[index] = self._truncations[index] = self._ended[index] = False
                self._rewards[index] = 0.0
                self._reset_one(index, seed, options)
        finally:
            self._infos = kept

    def result_of(self, indices, infos):
        """What ``step`` gives, of some envs; ``infos`` are an InfosByEnv."""
        if len(indices) == self.count and indices == list(range(self.count)):
            return (*self._result()[:4], infos.of(indices))
        observations = [self._observations[index] for index in indices]
        flags = self._terminations[indices], self._truncations[indices]
        return (observations, self._rewards[indices], *flags, infos.of(indices))

    def env_at(self, index):
        """One of the envs. Raises BadValue where there is none of that index."""
        if type(index) is not int or not 0 <= index < self.count:
            raise BadValue("not the index of an env: %r" % (index,))
        self.at = index
        return self._adapters[index].env

    def render(self):
        """A list: what each env renders."""
        return self._of_each(lambda adapter: adapter.render())

    def call(self, name, args, kwargs):
        """A list: what each env's method returns, or the value of an attribute that cannot be called."""

        def of_one(adapter):
            is_callable, value = adapter.get(name)
            # SyncVectorEnv calls whatever can be called, an Enum class too.
            return adapter.call(name, args, kwargs) if is_callable or callable(value) else value

        return self._of_each(of_one)

    def set(self, name, values, force):
        """Set an attribute of each env to its own value; a list of whether it was set."""
        given = iter(values)
        return self._of_each(lambda adapter: adapter.set(name, next(given), force))

    def close(self):
        """Close all envs; where one raises, the others first."""
        with ExitStack() as stack:
            for adapter in self._adapters:
                stack.callback(adapter.close)

    def _of_each(self, ask):
        found = []
        for index, adapter in enumerate(self._adapters):
            self.at = index
            found.append(ask(adapter))
        return found

    def _result(self):
        return self._observations, self._rewards, self._terminations, self._truncations, self._infos

    def _reset_one(self, index, seed=None, options=None):
        result = self._adapters[index].reset(seed, options)
        try:
            self._observations[index], info = result
        except (TypeError, ValueError) as error:
            raise refusals.cannot_unpack(error, "reset()", result) from error
        self._note(index, info)

    def _step_all(self, pairs, at_end):
        """Step envs, (index, action) each. One loop with nothing in it that could stand outside, for light envs."""
        ended, steppers, observations = self._ended, self._steppers, self._observations
        rewards, terminations, truncations = self._rewards, self._terminations, self._truncations
        for index, action in pairs:
            self.at = index
            if ended[index]:
                self._begin_next(index)
                continue
            result = steppers[index].step(action)
            if type(result) is not tuple or len(result) != 5:
                result = self._adapters[index].even_out(result)
            try:
                # One by one, like SyncVectorEnv: a reward that is no number leaves the observation in its place.
                observations[index], rewards[index], terminations[index], truncations[index], info = result
            except (TypeError, ValueError, OverflowError) as error:
                raise refusals.cannot_unpack(error, "step()", result) from error
            if at_end is not None and (terminations[index] or truncations[index]):
                at_end(index, info)
            elif info or type(info) is not dict:
                self._note(index, info)

    def _reset_at_once(self, index, info):
        self._infos.add_final(index, self._observations[index], info)
        self._reset_one(index)

    def _begin_next(self, index):
        """In place of a step, where the last one has ended the episode."""
        if self._mode == DISABLED:
            text = "its episode is over, and with autoreset disabled only a reset() begins another"
            raise refusals.Refused(text, "AssertionError", ["AssertionError"])
        self._reset_one(index)
        self._rewards[index] = 0.0
        self._terminations[index] = self._truncations[index] = False

    def _note(self, index, info):
        """Keep an info that is not empty. One without items is refused, as by SyncVectorEnv, before the next env."""
        if type(info) is not dict:
            if not hasattr(info, "items"):
                error = AttributeError("'%s' object has no attribute 'items'" % type(info).__name__)
                raise refusals.cannot_unpack(error, "as the info, an env", info)
        elif not info:
            return
        self._infos.add(index, info)
