"""Whether it pays to code pictures before they cross: what ``frames = "auto"`` has learnt.

Knows how long pictures took, one way and the other. Never knows a picture or a network. Python 3.10 and up.

What counts is the time from the first byte of an answer's pictures to the last, which the client sees; with coding, the
server's time for it, which it tells, and the client's own for restoring. The simulator's time and the network's latency
are in neither. Nobody measures a bandwidth: what a sender sees are buffers of the kernel, which hold several frames.

As in ``adaptive_spin.py``, the better way is found out by trying. A trial may cost much here, a second for a batch of
frames over a slow link, so: coding begins, for it never costs much; sending raw is not tried where the time of the
coded bytes says that it would be far slower; and after a trial comes a pause in proportion to what it has cost.
"""

# What a single answer counts for in the running mean, and at most, as a multiple of it.
WEIGHT, COUNTED = 1 / 8, 2.0
# So many answers in a trial. The first does not count: the network, and the kept pictures, have yet to settle.
TRIAL_ANSWERS = 4
# So many answers before the first trial. Of the first ones none has a picture to be the difference to.
FIRST_ANSWERS = 4
# The other way must have taken less than this part of the usual time.
BETTER = 0.9
# A trial is not begun, or is broken off, where the other way takes more than so many times the usual time.
HOPELESS = 4.0
# The pause after a trial, as a multiple of what it has cost, and at least (s): trials cost at most one per cent.
PAUSE, LEAST_PAUSE_S = 100.0, 1.0


class CodecSelector:
    """Says whether to code, and learns from how long that took."""

    def __init__(self) -> None:
        self.use_codec = True  # what the server is to do from now on
        self._usual: float | None = None  # seconds per byte of a picture, the way it goes usually
        self._raw_guess = 0.0  # while coding: what sending raw would take at least, per byte
        self._answers = 0
        self._trial: list[float] | None = None
        self._trial_cost_s = 0.0
        self._next_trial_s = 0.0

    def record_transfer(
        self, coded: bool, raw_bytes: int, coded_bytes: int, transfer_s: float, coding_s: float, now_s: float
    ) -> None:
        """Take note of an answer.

        Args:
            coded: whether coding was tried.
            raw_bytes: of its pictures.
            coded_bytes: that have travelled in their place.
            transfer_s: from their first byte to the last.
            coding_s: for coding and restoring.
            now_s: on a clock that goes forward only.
        """
        if coded != self.use_codec:
            return  # the answer to a call that did not carry the wish yet
        took = (transfer_s + coding_s) / raw_bytes
        if self._trial is not None and self._usual is not None:
            self._record_trial(took, raw_bytes, now_s)
            return
        self._answers += 1
        usual = took if self._usual is None or self._answers <= 2 else self._usual
        self._usual = usual + (min(took, COUNTED * usual) - usual) * WEIGHT
        if coded:
            guess = transfer_s / coded_bytes
            self._raw_guess += (guess - self._raw_guess) * (WEIGHT if self._raw_guess else 1.0)
        is_hopeless = coded and self._raw_guess > HOPELESS * self._usual
        if self._answers >= FIRST_ANSWERS and now_s >= self._next_trial_s and not is_hopeless:
            self._trial, self._trial_cost_s = [], 0.0
            self.use_codec = not self.use_codec

    def _record_trial(self, took: float, raw_bytes: int, now_s: float) -> None:
        assert self._trial is not None
        assert self._usual is not None
        self._trial.append(took)
        self._trial_cost_s += max(0.0, took - self._usual) * raw_bytes
        is_over = len(self._trial) == TRIAL_ANSWERS
        if not is_over and took <= HOPELESS * self._usual:
            return
        # One that was disturbed must not decide.
        middle = sorted(self._trial[1:])[len(self._trial) // 2 - 1] if is_over else took
        if is_over and middle < BETTER * self._usual:
            self._usual = middle
        else:
            self.use_codec = not self.use_codec
        self._raw_guess = 0.0
        self._trial = None
        self._next_trial_s = now_s + max(LEAST_PAUSE_S, PAUSE * self._trial_cost_s)
