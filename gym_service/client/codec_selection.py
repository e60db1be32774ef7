"""Decides whether encoding images pays, for ``frames = "auto"``.

Knows how long images took with and without encoding. Never knows an image or a network. Python 3.10 and up.

The measure is the time from the first byte of an answer's images to the last, as the client sees it; with encoding also
the server's time for it, which the server reports, and the client's time for decoding. It contains neither the
simulator's time nor the network's latency. Bandwidth is not measured: a sender sees only the kernel's buffers, which
hold several frames.

As in ``adaptive_spin.py``, trials show which way is faster. A trial can be expensive here, a second for a batch of
frames over a slow link. So encoding is the first choice, since it never costs much. There is no trial of raw images if
the time of the encoded bytes shows that it would be far slower. After a trial comes a pause in proportion to its cost.
"""

# The weight of one answer in the running mean, and the most that it counts, as a multiple of the mean.
WEIGHT, COUNTED = 1 / 8, 2.0
# The number of answers in a trial. The first does not count: the network and the reference images have yet to settle.
TRIAL_ANSWERS = 4
# The number of answers before the first trial. The first answers have no reference image to differ from.
FIRST_ANSWERS = 4
# The other way must take less than this fraction of the usual time.
BETTER = 0.9
# A trial is not started, or is stopped, if the other way takes more than this multiple of the usual time.
HOPELESS = 4.0
# The pause after a trial, as a multiple of its cost, and at least (s): trials cost at most one per cent.
PAUSE, LEAST_PAUSE_S = 100.0, 1.0


class CodecSelector:
    """Decides whether to encode, from how long transfers took."""

    def __init__(self) -> None:
        self.use_codec = True  # whether the server should encode from now on
        self._usual: float | None = None  # seconds per byte of an image, in the present way
        self._raw_guess = 0.0  # while encoding: the least time per byte that sending raw would take
        self._answers = 0
        self._trial: list[float] | None = None
        self._trial_cost_s = 0.0
        self._next_trial_s = 0.0

    def record_transfer(
        self, coded: bool, raw_bytes: int, coded_bytes: int, transfer_s: float, coding_s: float, now_s: float
    ) -> None:
        """Record an answer.

        Args:
            coded: whether encoding was tried.
            raw_bytes: the size of its images.
            coded_bytes: the size of their encoded form.
            transfer_s: the time from their first byte to the last.
            coding_s: the time for encoding and decoding.
            now_s: on a monotonic clock.
        """
        if coded != self.use_codec:
            return  # the answer to a call that did not carry the latest request yet
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
        # The median, so that one disturbed answer does not decide.
        middle = sorted(self._trial[1:])[len(self._trial) // 2 - 1] if is_over else took
        if is_over and middle < BETTER * self._usual:
            self._usual = middle
        else:
            self.use_codec = not self.use_codec
        self._raw_guess = 0.0
        self._trial = None
        self._next_trial_s = now_s + max(LEAST_PAUSE_S, PAUSE * self._trial_cost_s)
