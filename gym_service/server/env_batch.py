"""Several envs in one server: steps them one after another, and resets them when their episodes end.

Knows adapters, and Gymnasium's three autoreset modes. Never knows the wire. Never imports gymnasium.vector, since the
target may have any gym. Python 3.6 and up. All effects, including the steps that are left out when an env raises, are
those of Gymnasium's SyncVectorEnv, so that the numbers are the same.
"""

from contextlib import ExitStack

import numpy as np

from gym_service.protocol.results import BatchInfos
from gym_service.protocol.values import BadValue
from gym_service.server import env_factory, refusals
from gym_service.server.observation_stack import make_stack

NEXT_STEP, SAME_STEP, DISABLED = MODES = "NextStep", "SameStep", "Disabled"


def make(recipe):
    """The Batch for a recipe whose ``batch`` contains ``count``, ``first_index`` and ``autoreset_mode``.

    It may also contain ``each``: for each env the keys of the recipe in which it differs.

    Raises whatever the simulator raises, after closing the envs made before.
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
    """Replaces the adapter of a single env. It has one adapter for each env."""

    holds_agents = False

    def __init__(self, adapters, first_index, autoreset_mode):
        self.count = len(adapters)
        self.first_index = first_index
        self.graph_class = adapters[0].graph_class
        self.space_from = adapters[0].space_from
        self._adapters = adapters
        self.at = 0  # the index of the current env, for errors
        self._mode = autoreset_mode
        self._steppers = [adapter.stepper for adapter in adapters]
        self._observations = [None] * self.count
        self._rewards = np.zeros(self.count, np.float64)
        self._terminations = np.zeros(self.count, np.bool_)
        self._truncations = np.zeros(self.count, np.bool_)
        self._ended = [False] * self.count  # whether the episode is over and the next one has not started by itself
        self._infos = BatchInfos(first_index)  # the infos of the current call
        self._stack = None
        self.episodes = 0  # how many have begun, in all envs

    @property
    def adapters(self):
        """The adapters of the envs."""
        return self._adapters

    @property
    def observations(self):
        """The last observation of each env; None for one that has not been reset."""
        return self._observations

    @property
    def resets_in_next_step(self):
        """Whether the step after the end of an episode is a reset, and no step."""
        return self._mode == NEXT_STEP

    def rewards_and_ends(self):
        """(rewards, whether the episode is over) of the last step, one for each env. The next step overwrites them."""
        return self._rewards, np.logical_or(self._terminations, self._truncations)

    @property
    def error_context(self):
        """The current env, as a line for an error."""
        return "in sub-environment %d of the vector env:\n" % (self.first_index + self.at)

    def describe(self):
        """The facts of the first env for the client. Raises RuntimeError if another env has other spaces."""
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

    @property
    def stack(self):
        """What stacks the observations; None if they have no layout."""
        return self._stack

    def stacked(self, observations, offers):
        """The observations in arrays (count, …), which the next call overwrites; None if they do not fit.

        Large leaves are written into ``offers``, memory for all envs of the vector env, at the rows of this batch.
        """
        self._stack.attach_memory(iter(offers) if offers else None, self.first_index)
        return self._stack.value if self._stack.write_rows(observations) else None

    def begin_reset(self, seeds, options, mask):
        """What ``reset_some`` takes for a reset of each env, or of those of ``mask``. Their episodes are over by then.

        ``options`` are for all envs, or a list with one item per env.
        """
        each = options if type(options) is list else [options] * self.count
        if len(each) != self.count:
            raise BadValue("options of %d envs for %d" % (len(each), self.count))
        chosen = [index for index in range(self.count) if mask is None or mask[index]]
        for index in chosen:
            self._terminations[index] = self._truncations[index] = self._ended[index] = False
        return [(index, seeds[index], each[index]) for index in chosen]

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
            # Not earlier: if an env raises, those before it are reset again, as in SyncVectorEnv.
            self._ended = np.logical_or(self._terminations, self._truncations).tolist()
        return self._result()

    def step_some(self, pairs, infos):
        """Step some envs, (index, action) each, in this order; ``infos`` receives their infos.

        An env that raises ends the loop; ``at`` is its index. Those before it have made their steps, and those count.
        """
        kept, self._infos, has_raised = self._infos, infos, True
        try:
            self._step_all(pairs, self._reset_at_once if self._mode == SAME_STEP else None)
            has_raised = False
        finally:
            self._infos = kept
            if self._mode != SAME_STEP:
                ended = np.logical_or(self._terminations, self._truncations).tolist()
                if len(pairs) == self.count and not has_raised:  # each env, once
                    self._ended = ended
                else:
                    self._note_ends(pairs, ended, has_raised)

    def _note_ends(self, pairs, ended, has_raised):
        for index, _ in pairs:
            if has_raised and index == self.at:
                break
            self._ended[index] = ended[index]

    def reset_some(self, triples, infos):
        """Start an episode in some envs, (index, seed, options) each. Ends as ``step_some``."""
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
        """The same as ``step`` returns, for some envs; ``infos`` is an InfosByEnv."""
        first, last = indices[0], indices[-1]
        # A slice costs a tenth of what a list of indices does.
        if indices == list(range(first, last + 1)):
            at = slice(first, last + 1)
            observations = self._observations[at]
        else:
            at, observations = indices, [self._observations[index] for index in indices]
        return (observations, self._rewards[at], self._terminations[at], self._truncations[at], infos.of(indices))

    def env_at(self, index):
        """One of the envs. Raises BadValue for an invalid index."""
        if type(index) is not int or not 0 <= index < self.count:
            raise BadValue("not the index of an env: %r" % (index,))
        self.at = index
        return self._adapters[index].env

    def render(self):
        """A list of what each env renders."""
        return self._of_each(lambda adapter: adapter.render())

    def call(self, name, args, kwargs):
        """A list of each env's results of the method, or the attribute's values if it is not callable."""

        def of_one(adapter):
            is_callable, value = adapter.get(name)
            # SyncVectorEnv calls everything that is callable, also an Enum class.
            return adapter.call(name, args, kwargs) if is_callable or callable(value) else value

        return self._of_each(of_one)

    def set(self, name, values, force):
        """Set an attribute of each env to its own value. Returns a list of whether each was set."""
        given = iter(values)
        return self._of_each(lambda adapter: adapter.set(name, next(given), force))

    def close(self):
        """Close all envs. If one raises, the others are closed first."""
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
        self.episodes += 1
        result = self._adapters[index].reset(seed, options)
        try:
            self._observations[index], info = result
        except (TypeError, ValueError) as error:
            raise refusals.cannot_unpack(error, "reset()", result) from error
        self.note_info(index, info)

    def _step_all(self, pairs, at_end):
        """Step envs, (index, action) each. The loop does only what it must, so that light envs are fast."""
        ended, steppers, observations = self._ended, self._steppers, self._observations
        rewards, terminations, truncations = self._rewards, self._terminations, self._truncations
        index = self.at
        try:
            for index, action in pairs:
                if ended[index]:
                    self._begin_next(index)
                    continue
                result = steppers[index].step(action)
                if type(result) is not tuple or len(result) != 5:
                    result = self._adapters[index].even_out(result)
                try:
                    # One by one, like SyncVectorEnv: a reward that is not a number leaves the observation stored.
                    observations[index], rewards[index], terminations[index], truncations[index], info = result
                except (TypeError, ValueError, OverflowError) as error:
                    raise refusals.cannot_unpack(error, "step()", result) from error
                if at_end is not None and (terminations[index] or truncations[index]):
                    at_end(index, info)
                elif info or type(info) is not dict:
                    self.note_info(index, info)
        finally:
            self.at = index

    def _reset_at_once(self, index, info):
        self._infos.add_final(index, self._observations[index], info)
        self._reset_one(index)

    def _begin_next(self, index):
        """The autoreset that replaces a step after the end of an episode."""
        if self._mode == DISABLED:
            text = "its episode is over, and with autoreset disabled only a reset() begins another"
            raise refusals.Refused(text, "AssertionError", ["AssertionError"])
        self._reset_one(index)
        self._rewards[index] = 0.0
        self._terminations[index] = self._truncations[index] = False

    def note_info(self, index, info):
        """Record an info that is not empty. Refuses one without items before the next env, like SyncVectorEnv."""
        if type(info) is not dict:
            if not hasattr(info, "items"):
                error = AttributeError("'%s' object has no attribute 'items'" % type(info).__name__)
                raise refusals.cannot_unpack(error, "as the info, an env", info)
        elif not info:
            return
        self._infos.add(index, info)
