"""Encodes the results of steps: by the layout of the observations, by a form, or in the general form.

Knows results, layouts and forms. Never knows an adapter, or how bytes travel. Python 3.6 and up.
"""

from gym_service.protocol import messages, results
from gym_service.protocol.encoder import Encoder
from gym_service.protocol.result_forms import FormWriter


class StepAnswers:
    """The answers of one env or one vectorized simulator."""

    def __init__(self, bound, *, is_vectorized=False):
        """``bound`` is the MessageBound of the server."""
        self.forms = FormWriter(b"" if is_vectorized else results.BEFORE_FORM)
        self.is_vectorized = is_vectorized
        self._bound = bound

    def encode(self, layout, result):
        """(kind, encoder) of the answer to a step. ``layout`` is that of the observations, or None."""
        if type(result) is not tuple or len(result) != 5:
            return messages.RESULT, Encoder().add(result, "$.result")
        layout, forms = None if self.is_vectorized else layout, self.forms
        is_usual = forms.is_usual  # the way of the last result is tried first
        packed = forms.pack(result) if is_usual else None
        if packed is None and layout is not None and type(result[4]) is dict and not result[4]:
            packed = results.pack_step(layout, result)
        if packed is None and not is_usual:
            packed = forms.pack(result)
        if packed is not None:
            return messages.STEPPED, packed
        form, told = forms.new_form(result)
        if form is not None:
            return messages.RESULT, self._telling(result, form, told)
        packed = None if layout is None else results.pack_step(layout, result)
        return (messages.RESULT, results.encode_step(result)) if packed is None else (messages.STEPPED, packed)

    def _telling(self, result, form, told):
        """A result in the general form that also tells the client of its form, if the message has room for that."""
        answer = results.encode_step(result)
        if answer.size_bytes + told.size_bytes <= self._bound.size_bytes:
            answer.extend(told)
            self.forms.keep(form, answer)
        return answer
