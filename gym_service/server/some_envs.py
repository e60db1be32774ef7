"""Calls to some envs of a batch, answered in groups: a result is sent as soon as it is worth a separate frame.

Knows the batch, and how long its envs have taken. Never knows how bytes travel. Python 3.6 and up.

There is one thread, so nothing can be sent while an env makes its step. A frame for each env costs both sides some 10
us, which is a lot beside a light env. A result that waits for the next env of its group waits for as long as that env
takes. So a group has as many envs as usually take GROUP_S together: one if steps are long, all if they are short.
"""

import operator
from time import perf_counter

from gym_service.protocol import early_results, messages
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.layout import compile_layout, rows
from gym_service.protocol.values import BadValue, CannotEncode
from gym_service.server import error_report
from gym_service.server.observation_stack import make_stack

# How long a result may wait for others (seconds), if steps take their usual time. On busy processors a frame and its
# wake-up cost up to 5 % of that.
GROUP_S = 1e-3
# The weights of a group in the running mean of a step's duration, for a longer one and for a shorter one, and the most
# that it counts, as a multiple of the mean. A long step counts little: other processes may have interrupted this one.
RISING, FALLING, COUNTED = 1 / 16, 1 / 2, 4.0

_FIRST = operator.itemgetter(0)


class SomeEnvs:
    """Answers the calls of a batch that are for some of its envs."""

    def __init__(self, batch, spaces, actions, counters, send, check_bound):
        """Serve a batch whose envs have these spaces.

        ``actions``: the ActionArrays that all calls share. ``counters`` count the steps. ``send(kind, encoder)`` sends
        a frame of the answer; ``check_bound(encoder)`` raises CannotEncode for one that is too large.
        """
        self._batch = batch
        self._spaces = spaces
        self._actions = actions
        self._counters = counters
        self._send = send
        self._check_bound = check_bound
        self._layouts = {}  # by the space's name and the number of envs
        self._stacks = {}  # by the number of envs
        self._usual_s = GROUP_S  # the usual time of an env
        self._has_fitted = False  # whether the observations of the last group fitted their layout
        self._failed_reset = None  # (triples, infos, how many of them were reset, the error of the next one)

    def step(self, indices, actions):
        """Step envs, in this order. Returns the kind and Encoder of the last frame; the others are sent already."""
        self._check(indices, actions)
        return self.step_pairs((indices, actions))

    def step_pairs(self, given):
        """As ``step``, for (indices, actions), which are checked already."""
        indices, actions = given
        pairs = list(zip(indices, self._actions.convert(actions)))
        done = 0
        while True:
            size = max(1, int(GROUP_S / self._usual_s)) if self._has_fitted else 1
            group = pairs[done : done + size] if done or size < len(pairs) else pairs
            begun = perf_counter()
            answers = self._carried_out(self._batch.step_some, group, done)
            self._note_duration((perf_counter() - begun) / len(group))
            for count, encoder in answers:
                done += count
                if done == len(pairs):
                    self._counters.step(done)
                    return messages.LAST_GROUP, encoder
                self._send(messages.GROUP, encoder)

    def step_packed(self, head, buffers):
        """As ``step``, for actions that fit their layout. Raises as ``unpack``."""
        return self.step_pairs(self.unpack(head, buffers))

    def reader(self, scratch, head_at):
        """A function that reads what ``unpack`` returns from a call's head, whose bytes begin at ``head_at``.

        It takes the size of the head. Usually the call is for all envs, in their order.
        """
        count, unpack = self._batch.count, self.unpack
        layout, beginning, indices = self._action_layout(count), bytearray(), list(range(count))
        read, beginning_end, end = None, head_at, head_at
        if layout is not None:
            early_results.begin_part(beginning, indices, layout)
            beginning_end += len(beginning)
            end = beginning_end + layout.head_bytes
            read = layout.reader(scratch, beginning_end)

        def read_call(head_bytes):
            if read is not None and head_at + head_bytes == end and scratch[head_at:beginning_end] == beginning:
                return indices, rows(read(), count)
            return unpack(scratch[head_at : head_at + head_bytes], ())

        return read_call

    def unpack(self, head, buffers):
        """The indices and the actions of a call. Raises BadValue or BadFrame for malformed bytes."""
        indices, actions = [], []
        for part, batched in early_results.unpack_parts(self._action_layout, head, buffers):
            indices += part
            actions += rows(batched, len(part))
        self._check(indices, actions)
        return indices, actions

    def reset(self, indices, seeds, options):
        """Reset envs, in this order, as ``step``. Resets are rarely short, so each one is a group."""
        self._check(indices, seeds, options)
        *first, last = enumerate(zip(indices, seeds, options))
        for place, triple in first:
            self._send(messages.GROUP, self._reset_one(place, triple))
        return messages.LAST_GROUP, self._reset_one(*last)

    def reset_all(self, seeds, options, mask, encode):
        """Reset all envs, or those of ``mask``, up to one that raises, as in SyncVectorEnv.

        Returns what ``encode`` makes of the same as ``Batch.step`` returns. Raises what an env or ``encode`` raises.
        """
        triples, done, error = self._batch.begin_reset(seeds, options, mask), 0, None
        infos = early_results.InfosByEnv(self._batch.first_index)
        self._failed_reset = None
        try:
            for triple in triples:
                self._batch.reset_some([triple], infos)
                done += 1
            return encode(self._batch.result_of(list(range(self._batch.count)), infos))
        except (BadFrame, BadValue):
            raise
        except Exception as raised:  # the border: as ``_carried_out``
            if done < len(triples):
                error = error_report.describe_error(raised, self._batch.error_context)
            self._failed_reset = triples, infos, done, error
            raise

    def reset_rest(self):
        """Answer for each env of a ``reset_all`` that has failed just now, as ``reset``; reset those that it did not.

        Then the error of one env costs the others nothing, nor does the observation of an env that it did not concern.
        """
        if self._failed_reset is None:
            raise BadValue("no reset of all envs has failed")
        (triples, infos, done, error), self._failed_reset = self._failed_reset, None
        for place, triple in enumerate(triples):
            if place < done:
                ((_, encoder),) = self._encoded([triple[0]], infos, place)
            elif place == done:
                encoder = early_results.encode_error(error, place)
            else:
                encoder = self._reset_one(place, triple)
            if place < len(triples) - 1:
                self._send(messages.GROUP, encoder)
        self._actions.learn(self._batch.observations)  # the reset that has failed did not
        return messages.LAST_GROUP, encoder

    def _reset_one(self, place, triple):
        return self._carried_out(self._batch.reset_some, [triple], place)[0][1]

    def _note_duration(self, step_s):
        difference_s = min(step_s, COUNTED * self._usual_s) - self._usual_s
        self._usual_s += difference_s * (RISING if difference_s > 0 else FALLING)

    def _action_layout(self, count):
        return self._layout("action_space", count)

    def _check(self, indices, *lists):
        """Raise BadValue unless the indices are distinct envs and each list has one value for each."""
        given = indices, *lists
        if set(map(type, given)) != {list} or len(set(map(len, given))) != 1:
            raise BadValue("not lists of one length")
        is_ints = set(map(type, indices)) == {int}
        if not is_ints or min(indices) < 0 or max(indices) >= self._batch.count:
            raise BadValue("not the indices of %d envs: %r" % (self._batch.count, indices))
        if len(set(indices)) != len(indices):
            raise BadValue("an env twice: %r" % (indices,))

    def _carried_out(self, act, group, place):
        """Carry out a group's request: a list of (number of envs, Encoder). It ends at an env that raises."""
        indices = list(map(_FIRST, group))
        infos = early_results.InfosByEnv(self._batch.first_index)
        error = None
        try:
            act(group, infos)
        except (BadFrame, BadValue):
            raise
        except Exception as raised:  # noqa: BLE001 - the border: whatever a simulator raises is the answer of this env
            error = error_report.describe_error(raised, self._batch.error_context)
            indices = indices[: indices.index(self._batch.at)]
        answers = self._encoded(indices, infos, place) if indices else []
        if error is not None:
            answers.append((1, early_results.encode_error(error, place + len(indices))))
        return answers

    def _encoded(self, indices, infos, place):
        """The results of envs, as ``_carried_out`` returns them; each separately if they cannot cross together."""
        try:
            encoder = self._group(indices, infos, place)
            self._check_bound(encoder)
        except CannotEncode as error:
            if len(indices) == 1:
                return [(1, early_results.encode_error(error_report.describe_error(error), place))]
            return [self._encoded_alone(index, infos, place + at) for at, index in enumerate(indices)]
        return [(len(indices), encoder)]

    def _encoded_alone(self, index, infos, place):
        """The result of one env. Its arrays are copied, since the next env's are stacked in the same memory."""
        ((count, encoder),) = self._encoded([index], infos, place)
        encoder.buffers = [buffer.copy() for buffer in encoder.buffers]
        return count, encoder

    def _group(self, indices, infos, place):
        result = self._batch.result_of(indices, infos)
        count = len(indices)
        layout, stacked = self._layout("observation_space", count), None
        if layout is not None:
            if count not in self._stacks:
                self._stacks[count] = make_stack(self._spaces["observation_space"], count)
            stack = self._stacks[count]
            stacked = stack.value if stack.write_rows(result[0]) else None
        self._has_fitted = stacked is not None
        return early_results.encode_group(layout, stacked, result, place, indices, self._batch.first_index)

    def _layout(self, name, count):
        if count > self._batch.count:
            raise BadValue("%d of %d envs" % (count, self._batch.count))
        key = name, count
        if key not in self._layouts:
            self._layouts[key] = compile_layout(self._spaces[name], count)
        return self._layouts[key]
