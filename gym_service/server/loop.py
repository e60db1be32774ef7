"""The server's loop: one call in, one answer out.

Knows the kinds of messages and the adapter. Never knows how bytes travel, or which library is behind the adapter.
Python 3.6 and up.
"""

import faulthandler
import os
import traceback
import warnings

from gym_service.protocol import messages, results
from gym_service.protocol.decoder import ValueDecoder
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.frames import BadFrame
from gym_service.protocol.layout import compile_layout, rows
from gym_service.protocol.values import BadValue
from gym_service.server import env_batch, env_factory, error_report, generators, offscreen, refusals
from gym_service.server.arrays import ActionArrays, received
from gym_service.server.compiled_step import compile_any_step
from gym_service.server.counters import Counters
from gym_service.server.env_facts import EnvFacts
from gym_service.server.frames_setting import RAW, image_encoder_for
from gym_service.server.message_bound import MIB, MessageBound, in_parts
from gym_service.server.pending_warnings import PendingWarnings
from gym_service.server.permissions import Permissions
from gym_service.server.step_answers import StepAnswers
from gym_service.transport.arena import LIMIT_BYTES
from gym_service.transport.streams import ChannelClosed

EXIT_FORKED = 4


def serve(channel, permissions=None, counters=None, warned=(), is_debugged=False, viewers=None):
    """Answer the calls that arrive over the channel until it ends. Then close the env.

    ``permissions``: what the client may make this server do.
    ``counters``: the process that started this server reads them.
    ``warned``: warnings for the user to send with the first answer, as ``warnings.showwarning`` takes them.
    ``is_debugged``: tells the client not to limit its calls. ``viewers``: the ViewerLink of this server, if it has one.
    """
    faulthandler.enable()  # a native crash leaves its stack on stderr, which the client keeps
    server = Server(channel, permissions or Permissions(), counters or Counters(), is_debugged)
    warnings.showwarning = server.warnings.show
    for warning in warned:
        server.warnings.show(*warning)
    if hasattr(os, "register_at_fork"):  # new in Python 3.7
        # Otherwise a child of the simulator holds the channel open, and the client does not see the server's death.
        os.register_at_fork(after_in_child=channel.close_copy)  # novermin
    try:
        server.counters.mark_ready()
        wanted = viewers.words if viewers else (0,)  # the first number is not 0 while somebody looks
        while server.state != messages.CLOSED:
            if server.compiled is None or not server.compiled():
                server.answer(channel.receive())
            if wanted[0]:
                viewers.after_call(server._adapter, server.counters)
    except ChannelClosed:
        pass  # the client has disconnected, or closed the channel without a CLOSE
    finally:
        server.leave_if_forked()
        server.close()
        channel.close()


class Server:
    """Holds the adapter, answers one frame at a time."""

    def __init__(self, channel, permissions, counters, is_debugged=False):
        self.state, self._is_debugged = messages.NEW, is_debugged
        self._process_id = os.getpid()
        self._channel = channel
        self._permissions = permissions
        self.counters = counters
        self._adapter = self._agents = self._some_envs = None
        self.call_id = 0  # of the call that is being answered
        self.needs_reset = False  # whether the client's env is a copy, or a restarted one, without a reset so far
        self.compiled = None  # answers most steps, if actions are small
        self.facts = None  # the EnvFacts of one env
        self._layout = self._action_layout = self._layout_count = self._image_encoder = None
        self._layout_versions = {"observation_space": -1, "action_space": -1}
        self._bound = MessageBound()
        self._steps = StepAnswers(self._bound)
        self._actions = ActionArrays()
        self.warnings = PendingWarnings()
        self._calls = {
            messages.MAKE: self._make,
            messages.RESET: self._reset,
            messages.STEP: self._step,
            messages.STEP_PACKED: self._step_packed,
            messages.RENDER: self._render,
            messages.GET: self._get,
            messages.SET: lambda frame: self._result(self._adapter.set(*self._read_named(frame, 3))),
            messages.HAS: lambda frame: self._result(self._adapter.has(*self._read_named(frame, 1))),
            messages.CALL: self._call,
            messages.NAMES: lambda frame: self._result(self._adapter.names()),
            messages.CALL_FUNCTION: self._call_function,
            messages.RANDOM: self._random,
            messages.REQUIRE_RESET: self._require_reset,
            messages.CLOSE: self._close,
            messages.VEC_RESET: self._vec_reset,
            messages.VEC_STEP: lambda frame: self._vec_step(frame, *self._read(frame, 1)),
            messages.VEC_STEP_PACKED: self._vec_step_packed,
            messages.STEP_SOME: lambda frame: self._some_envs.step(*self._read(frame, 2)),
            messages.STEP_SOME_PACKED: lambda frame: self._some_envs.step_packed(frame.head, frame.buffers),
            messages.RESET_SOME: lambda frame: self._some_envs.reset(*self._read(frame, 3)),
            messages.RESET_REST: lambda frame: self._some_envs.reset_rest(),
            messages.AGENT_FACTS: lambda frame: self._agents.facts(),
            messages.AGENT_SPACES: lambda frame: self._agents.spaces(*self._read(frame, 1)),
            messages.AGENT_RESET: self._reset_agents,
            messages.AGENT_STEP: lambda frame: self._agents.step(*self._read(frame, 1)),
            messages.AGENT_STEP_PACKED: lambda frame: self._agents.step_packed(frame.head, frame.buffers),
            messages.AGENT_TURN: lambda frame: self._agents.turn(),
        }

    def answer(self, frame):
        """Carry out one call and send its one answer: an ERROR if it failed. The env stays usable after that."""
        self.call_id = frame.call_id
        self.counters.call_started()
        try:
            if frame.kind not in messages.LEGAL[self.state]:
                raise messages.Illegal(frame.kind, self.state)
            if self.needs_reset and frame.kind in messages.UNTIL_RESET:
                raise refusals.reset_needed(messages.CALL_NAMES[frame.kind])
            if self._image_encoder is not None:
                self._image_encoder.is_on = frame.kind in messages.SHOWING
            kind, encoder = self._calls[frame.kind](frame)
            self._bound.check(encoder)
            if self.facts is not None and frame.kind in messages.CHANGING:
                self.send_changes(self.facts.changes(frame.kind == messages.RESET))
        except (SystemExit, KeyboardInterrupt):
            self.note_exit()
            raise
        except Exception as error:  # noqa: BLE001 - the border: whatever a simulator raises is an answer, and no end
            kind, encoder = self.error_answer(frame.kind, error)
        self.leave_if_forked()
        self.counters.call_finished()
        self.send_answer(kind, encoder)

    def note_exit(self):
        """Report the exception that ends this process. In a forked child of the simulator, end it without a word."""
        self.leave_if_forked()
        traceback.print_exc()  # without a traceback its origin would be unknown
        self.counters.call_finished()  # what follows is not part of the call: the env is closed

    def error_answer(self, kind, error):
        """The answer to a call of this kind that has raised."""
        if isinstance(error, (BadFrame, BadValue)):  # a client that breaks the rules gets no second call
            self.state = messages.CLOSED
        notes = offscreen.notes() if kind in (messages.MAKE, messages.RENDER) else ""
        context = getattr(self._adapter, "error_context", "")
        return messages.ERROR, error_report.describe_error(error, context, notes)

    def send_answer(self, kind, encoder):
        """Send a frame of the answer, after the warnings that belong to it."""
        for category, text in self.warnings.take(encoder):
            self._send(messages.WARNING, Encoder().add(category).add(text))
        self._send(kind, encoder)
        self._steps.forms.answered(encoder)

    def leave_if_forked(self):
        """End a child of the simulator that returned from the call in which it was forked.

        Only its parent may answer the call and close the env.
        """
        if os.getpid() != self._process_id:
            os._exit(EXIT_FORKED)

    def close(self):
        """Close the env, once. If that raises, the error goes to stderr and stops nothing."""
        adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.close()

    def _send(self, kind, encoder):
        self.leave_if_forked()
        self._channel.send_frame(kind, self.call_id, encoder.head, encoder.buffers)

    def _decoder(self, frame):
        graph = self._adapter.graph_class if self._adapter else None
        return ValueDecoder(frame.head, frame.buffers, graph, arrays=received)

    def _read(self, frame, count):
        decoder = self._decoder(frame)
        return [decoder.read() for _ in range(count)]

    def _read_named(self, frame, count):
        """``count`` fields, of which the first names an attribute. Raises NotPermitted."""
        fields = self._read(frame, count)
        self._permissions.check_attribute(fields[0])
        return fields

    def _call(self, frame):
        name, args, kwargs = self._read(frame, 3)
        self._permissions.check_call(name, args, kwargs)
        return self._result(self._adapter.call(name, args, kwargs))

    def _make(self, frame):
        recipe = self._permissions.check(self._decoder(frame).read())
        frames = recipe.get("frames", RAW) if self._channel.arena is None else RAW
        if self._channel.arena is not None:
            self._channel.arena.limit_bytes = recipe.get("arena_mib", LIMIT_BYTES // MIB) * MIB
        image_encoder, shown_frames = image_encoder_for(frames)
        adapter = env_batch.make(recipe) if "batch" in recipe else env_factory.make(recipe)
        description = adapter.describe()
        self._bound.set_mib(recipe.get("max_message_mib"))
        self._bound.is_of_batch = adapter.count is not None
        vector = description.get("vector")
        spaces = description if vector is None else {name: vector["single_" + name] for name in self._layout_versions}
        self._layout_count = adapter.count if vector is None else vector["num_envs"]
        self._steps = StepAnswers(self._bound, is_vectorized=vector is not None)
        self._bound.check_spaces(spaces)
        description["target"]["frames"] = shown_frames
        if self._is_debugged:
            description["target"]["is_debugged"] = True
        self._adapter = adapter
        self._actions = ActionArrays(recipe.get("actions"))
        ValueDecoder.space_from = adapter.space_from
        self._compile_layouts(spaces)
        self.counters.set_env_id(str(recipe["entry_point"] or recipe["id"]))
        self._enter_state(adapter, spaces, description)
        if self.state == messages.MADE and vector is None:  # vector envs keep their spaces; agents have their own
            self.facts = EnvFacts(adapter)
        if image_encoder is not None:
            self._use_image_codec(image_encoder, frames)
        self._compile_step()
        return messages.RESULT, Encoder().add(description, "$", opaque=True)

    def _enter_state(self, adapter, spaces, description):
        """Begin to take the calls of one env, a batch or several agents. A start imports only what its env needs."""
        self.state = messages.MADE if adapter.count is None else messages.BATCHED
        if self.state == messages.BATCHED:
            from gym_service.server.some_envs import SomeEnvs

            answering = self.counters, self.send_answer, self._bound.check
            self._some_envs = SomeEnvs(adapter, spaces, self._actions, *answering)
        if adapter.holds_agents:
            from gym_service.server.multi_agent import MultiAgentCalls

            self.state = messages.MULTI_AGENT
            self._agents = MultiAgentCalls(adapter, self.counters, description, self._compile_step)

    def _compile_layouts(self, facts):
        """Compile the layouts of the spaces among these facts, and set the bound on messages from their sizes."""
        for name, kept in (("observation_space", "_layout"), ("action_space", "_action_layout")):
            if name in facts:
                old, space = getattr(self, kept), facts[name]
                self._layout_versions[name] += 1
                version = self._layout_versions[name]
                new = None if space is None else compile_layout(space, self._layout_count, version)
                self._bound.replace_layout(old, new)
                setattr(self, kept, new)
        self._channel.decoder.bound_bytes = self._bound.size_bytes

    def _compile_step(self):
        """Compile the step for the present spaces; images that are encoded need the general one."""
        if self._image_encoder is None:
            forms = None if self._steps.is_vectorized else self._steps.forms
            given = self._some_envs, self._actions, self._layout, self._action_layout, forms
            self.compiled = compile_any_step(self, self._channel, self._adapter, self._agents, *given)

    def send_changes(self, changes):
        """Send the client the changes before the answer, so that both sides have the same layouts after it."""
        if changes:
            self._bound.check_spaces(changes)
            encoder = Encoder().add(changes, "$", opaque=True)
            self._bound.check(encoder)
            self._send(messages.CHANGED, encoder)
            self._compile_layouts(changes)
            self._compile_step()
        self.facts.told()

    def _use_image_codec(self, image_encoder, frames):
        self._image_encoder = image_encoder
        self._channel.use_image_codec(image_encoder)
        is_first = not getattr(self._adapter, "first_index", 0)  # one warning for all of a vector env
        if image_encoder.is_lossy and is_first:
            text = "is lossy: colour pictures in observations, infos and renders are not what the env gave"
            self.warnings.add('frames = "%s" %s' % (frames, text))

    def _reset(self, frame):
        (seed, options), args, kwargs = self._read_with_more(frame, 2)
        return messages.RESULT, results.encode_reset(self.reset_env(seed, options, *args, **kwargs))

    def reset_env(self, seed, options, *args, **kwargs):
        """The result of a reset of the one env."""
        result = self._adapter.reset(seed, options, *args, **kwargs)
        self.needs_reset = False
        self.counters.episodes += 1
        self._actions.learn(result[0] if type(result) is tuple and len(result) == 2 else result)
        return result

    def _vec_reset(self, frame):
        seeds, options, mask = self._read(frame, 3)

        def encode(result):
            if mask is None or all(mask):
                self.needs_reset = False
            self._actions.learn(result[0])
            return self.checked(self._batch(frame.offers, result))

        return self._some_envs.reset_all(seeds, options, mask, encode)

    def _step(self, frame):
        (action,), args, kwargs = self._read_with_more(frame, 1)
        return self.stepped(self._adapter.step(self._actions.convert(action), *args, **kwargs))

    def _read_with_more(self, frame, count):
        """``count`` fields, and the call's further arguments: none, or a tuple and a dict with text keys."""
        fields = self._decoder(frame).read_rest()
        args, kwargs = fields[count:] or ((), {})
        if len(fields) < count or type(args) is not tuple or type(kwargs) is not dict:
            raise BadValue("%d fields are no call with further arguments" % len(fields))
        return fields[:count], args, kwargs

    def _random(self, frame):
        name, given = self._read(frame, 2)
        if self.state == messages.BATCHED:
            return self._result([generators.exchange(self._adapter.env_at(at), name, one) for at, one in given])
        return self._result(generators.exchange(self._adapter.env, name, given))

    def _reset_agents(self, frame):
        answer = self._agents.reset(*self._read(frame, 2))
        self.needs_reset = False
        return answer

    def _require_reset(self, frame):
        self.needs_reset = True
        return self._result(None)

    def _step_packed(self, frame):
        action = results.unpack_action(self._action_layout, frame.head, frame.buffers)
        return self.stepped(self._adapter.step(self._actions.convert(action)))

    def stepped(self, result):
        """The answer to a step that has this result."""
        self.counters.step(self._layout_count or 1)
        return self._steps.encode(self._layout, result)

    def encode_step(self, result):
        """The answer to a step of one env that has this result. Raises CannotEncode."""
        return self.checked(self._steps.encode(self._layout, result))

    def encode_batch(self, result):
        """The answer to a step of a batch that has this result. Raises CannotEncode."""
        return self.checked(self._batch((), result))

    def checked(self, answer):
        """The answer itself. Raises CannotEncode if it is too large for a message."""
        self._bound.check(answer[1])
        return answer

    def _vec_step_packed(self, frame):
        actions = results.unpack_action(self._action_layout, frame.head, frame.buffers)
        return self._vec_step(frame, rows(actions, self._adapter.count))

    def _vec_step(self, frame, actions):
        result = self._adapter.step(self._actions.convert(actions))
        self.counters.step(self._adapter.count)
        return self._batch(frame.offers, result)

    def _batch(self, offers, result):
        self.leave_if_forked()  # before shared memory is written
        stacked = self._adapter.stacked(result[0], offers) if self._layout else None
        return results.encode_batch(self._layout, stacked, result, self._adapter.first_index, bool(offers))

    def _get(self, frame):
        (name,) = self._read_named(frame, 1)
        is_callable, value = self._adapter.get(name)
        return messages.RESULT, Encoder().add(is_callable).add(value, "$.%s" % name)

    def _render(self, frame):
        _, args, kwargs = self._read_with_more(frame, 0)
        frames = self._adapter.render(*args, **kwargs)
        if type(frames) is not list:
            return self._result(frames)
        parts, sent = in_parts(frames), 0
        for part in parts[:-1]:
            encoder = Encoder().add(part, "$.result[%d:%d]" % (sent, sent + len(part)))
            self._bound.check(encoder)
            self._send(messages.PART, encoder)
            sent += len(part)
        root = "$.result[%d:%d]" % (sent, len(frames)) if sent else "$.result"
        return messages.RESULT, Encoder().add(parts[-1], root)

    def _call_function(self, frame):
        function, args, kwargs = self._read(frame, 3)
        self._permissions.check_function(function, "a function")
        return self._result(env_factory.resolve(function)(self._adapter.env, *args, **kwargs))

    def _close(self, frame):
        self.state = messages.CLOSED
        self.counters.call_finished()  # the listener gives a server more time to close its env than to end a call
        self.close()
        return self._result(None)

    @staticmethod
    def _result(value):
        return messages.RESULT, Encoder().add(value, "$.result")
