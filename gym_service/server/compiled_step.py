"""The steps that ``compiled_call.py`` answers.

They are those of one env, of a batch, of a vectorized simulator, and of several agents. Knows adapters, layouts and the
packed form of results. Never knows how bytes travel. Python 3.6 and up.
"""

from gym_service.protocol import messages, results
from gym_service.protocol.frames import HEADER, HEADER_BYTES, MAGIC, SCRATCH_BYTES, VERSION
from gym_service.protocol.layout import STAMP, rows
from gym_service.protocol.plain_arrays import ArrayReader
from gym_service.protocol.results import BESIDE_BYTES, NO_INFOS, PACKED_STEP, STEPPED_BEGINNING, flags_of
from gym_service.server.compiled_call import compile_call
from gym_service.server.compiled_reset import reset_reader, reset_way
from gym_service.server.large_answers import large_packing
from gym_service.server.observation_stack import Arrays
from gym_service.transport.leased_frames import MOST_SLOTS


def compile_any_step(server, channel, adapter, agents, some_envs, actions, layout, action_layout, forms):
    """A function that answers a packed step; None if there can be none. See ``compile_call``.

    ``agents`` is a MultiAgentCalls or None; ``some_envs`` is the SomeEnvs of a batch, or None; ``actions`` is an
    ActionArrays; ``forms`` is the FormWriter of a single env; None for a vectorized simulator, and not used for a
    batch.
    """
    if agents is not None:
        return _compile_agents_step(server, channel, agents)
    readers = _readers(channel.decoder.scratch, action_layout, adapter.count is not None)
    if forms is None:
        return _compile_vectorized_step(server, channel, adapter, actions, readers)
    if layout is None or not readers:
        return None
    if adapter.count is not None:
        if layout.buffer_count:
            return None  # such a call offers memory
        return _compile_batch_step(server, channel, adapter, some_envs, actions, layout, readers)
    packing = large_packing(server, channel, layout, forms) if layout.buffer_count else (_packer(layout, forms),)
    return _compile_step(server, channel, adapter, actions, packing, readers)


def _readers(scratch, action_layout, is_batch):
    """The functions that read an action, by kind of call and number of descriptors; see ``compile_call``."""
    readers = {}
    for count in range(MOST_SLOTS + 1):
        head_at = HEADER_BYTES + 8 * count
        if action_layout is not None:
            kind = messages.VEC_STEP_PACKED if is_batch else messages.STEP_PACKED
            readers[kind, count] = _action_reader(scratch, head_at, action_layout)
        if not is_batch:  # a batch of such actions is a list
            readers[messages.STEP, count] = ArrayReader(scratch, head_at).read
    return {key: read for key, read in readers.items() if read is not None}


def _compile_step(server, channel, adapter, actions, packing, readers):
    """``packing``: ``pack``, and ``begin`` if it is not the channel's; see ``compile_call``."""
    (pack, *begin), (counts, steps_at) = packing, server.counters.of_steps
    stepper, own = adapter.stepper, vars(adapter)

    def act(action):
        given = action if actions.passes else actions.convert(action)
        # While somebody looks, the adapter has a step of its own, which notes the result: see viewed_env.py.
        result = stepper.step(given) if "step" not in own else adapter.step(given)
        if type(result) is not tuple or len(result) != 5:
            result = adapter.even_out(result)
        counts[steps_at] += 1
        return result

    ways = {kind: (act, pack, server.encode_step, *begin) for kind, _ in readers}
    ways[messages.RESET] = reset_way(server)
    for count in range(MOST_SLOTS + 1):
        readers[messages.RESET, count] = reset_reader(channel.decoder.scratch, HEADER_BYTES + 8 * count)
    return compile_call(server, channel, readers, ways)


def _compile_batch_step(server, channel, batch, some_envs, actions, layout, readers):
    stepped = server.counters.step

    def act(given):
        result = batch.step(actions.convert(rows(given, batch.count)))
        stepped(batch.count)
        return result

    ways = {
        messages.VEC_STEP_PACKED: (act, _batch_packer(layout, batch), server.encode_batch),
        messages.STEP_SOME_PACKED: (some_envs.step_pairs, _pack_answer, server.checked),
    }
    readers.update(_some_readers(channel.decoder.scratch, some_envs))
    return compile_call(server, channel, readers, ways)


def _some_readers(scratch, some_envs):
    """The functions that read a packed step of some envs, by kind of call and number of descriptors."""
    kind, each = messages.STEP_SOME_PACKED, range(MOST_SLOTS + 1)
    return {(kind, count): some_envs.reader(scratch, HEADER_BYTES + 8 * count) for count in each}


def _compile_vectorized_step(server, channel, adapter, actions, readers):
    def act(given):
        return server.stepped(adapter.step(actions.convert(given)))

    return _compile_one_way(server, channel, readers, act, _pack_answer, server.checked)


def _compile_agents_step(server, channel, agents):
    layouts, scratch = agents.layouts, channel.decoder.scratch
    if layouts.all_agents is None:
        return None
    read_all = layouts.all_agents.action_reader(scratch, HEADER_BYTES)

    def read(head_bytes):
        actions = read_all(head_bytes)
        if actions is None:
            return layouts.unpack_actions(scratch[HEADER_BYTES : HEADER_BYTES + head_bytes], ())
        return actions

    def encode(result):
        return server.checked(agents.encode_step(result))

    readers = {(messages.AGENT_STEP_PACKED, 0): read}
    return _compile_one_way(server, channel, readers, agents.act, layouts.all_agents.pack_step, encode)


def _compile_one_way(server, channel, readers, *way):
    """As ``compile_call``, for kinds of calls that differ only in how they are read."""
    return compile_call(server, channel, readers, {kind: way for kind, _ in readers})


def _pack_answer(call_id, answer):
    """A packed answer as a whole frame; None if it is large, or holds replaced values, or is not packed."""
    kind, packed = answer
    if kind not in (messages.STEPPED, messages.LAST_GROUP) or packed.size_bytes > SCRATCH_BYTES or packed.buffers:
        return None
    if packed.replaced or packed.by_array_alone:
        return None
    return HEADER.pack(MAGIC, VERSION, kind, call_id, len(packed.head), 0) + packed.head


def _action_reader(scratch, head_at, layout):
    """A function that reads a packed action whose head begins at ``head_at``; see ``compile_call``.

    None if an action has buffers, or is too large for the scratch buffer.
    """
    read, expected_bytes = layout.reader(scratch, head_at + STAMP.size), STAMP.size + layout.head_bytes
    version, unpack = (layout.version,), STAMP.unpack_from
    if read is None:
        return None

    def action(head_bytes):
        if head_bytes != expected_bytes or unpack(scratch, head_at) != version:
            return None
        return read()

    return action


def _packer(layout, forms):
    """A function that packs a step's result as a whole frame; None if it fits neither the layout nor a form."""
    pack, pack_observation, version = PACKED_STEP.pack, layout.packer(b""), layout.version
    head_bytes = BESIDE_BYTES + layout.head_bytes

    def packed(call_id, result):
        if type(result) is not tuple or len(result) != 5:
            return None
        observation, reward, terminated, truncated, info = result
        if type(info) is dict and not info:
            if type(reward) is float and terminated is False and truncated is False:  # most steps
                flags = 0
            else:
                flags = flags_of(reward, terminated, truncated)
            packed_observation = None if flags is None else pack_observation(observation)
            if packed_observation is not None:
                return pack(STEPPED_BEGINNING, call_id, head_bytes, 0, reward, flags, version) + packed_observation
        by_form = forms.pack(result, only_small=True)
        return None if by_form is None else _pack_answer(call_id, (messages.STEPPED, by_form))

    return packed


def _batch_packer(layout, batch):
    """The same for the result of a batch."""
    if type(batch.stack) is Arrays:
        return _array_batch_packer(layout, batch)
    pack, pack_observations, stamp, no_offers = HEADER.pack, layout.pack, layout.stamp, ()
    head_bytes = batch.count * results.BYTES_BESIDE + STAMP.size + layout.head_bytes + len(NO_INFOS)

    def packed(call_id, result):
        observations, rewards, terminations, truncations, infos = result
        if infos.count:
            return None
        stacked = batch.stacked(observations, no_offers)
        head = bytearray(pack(MAGIC, VERSION, messages.STEPPED, call_id, head_bytes, 0))
        head += rewards.tobytes() + terminations.tobytes() + truncations.tobytes() + stamp
        if stacked is None or not pack_observations(stacked, head, ()):
            return None
        return bytes(head + NO_INFOS)

    return packed


def _array_batch_packer(layout, batch):
    """The same for observations that are single arrays: each is copied once, into the frame."""
    fit, pack_header, stamp, join = batch.stack.fit, HEADER.pack, layout.stamp, b"".join
    head_bytes = batch.count * results.BYTES_BESIDE + STAMP.size + layout.head_bytes + len(NO_INFOS)

    def packed(call_id, result):
        observations, rewards, terminations, truncations, infos = result
        if infos.count or not fit(observations):
            return None
        header = pack_header(MAGIC, VERSION, messages.STEPPED, call_id, head_bytes, 0)
        try:
            return join((header, rewards, terminations, truncations, stamp, *observations, NO_INFOS))
        except TypeError as error:  # one of them is not in C order
            if error.__traceback__.tb_next is not None:
                raise  # raised by a signal handler: see streams.py
            return None

    return packed
