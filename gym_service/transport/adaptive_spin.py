"""How to wait for the other side: to look at the stream again and again, or to sleep on it.

Knows how long waits took, one way and the other. Never knows a stream. Python 3.6 and up; runs on both sides.

Where processors idle, waking a process that sleeps costs 10 to 60 us, a multiple of a light step, and looking saves it.
Where every processor is busy, the two sides take turns on one of them, waking is cheap, and who looks only keeps the
other from running. Two things tell them apart. Between two looks the processor is offered to others: where somebody
takes it, most looks take longer than a look can. And it is tried: now and then a few waits are done the other way, and
the way that took less time goes on.
"""

# A look lasts at least so long: the other side can wake up once meanwhile, and from then on both are awake.
SPIN_S = 200e-6
# Of a wait that is usually longer than this the waking is a small part, and the processor may be wanted elsewhere.
WORTH_SPINNING_S = 1000e-6
# What a single wait counts at most, as a multiple of the usual one, and what it counts for in the running mean.
COUNTED, WEIGHT = 4.0, 1 / 16
# A look and the offer that nobody takes cost 1 to 2 us; where the average of a wait is more, somebody else has run.
POLL_COSTS_S = 5e-6
MAX_CONTENTION = 0.5
# What is taken to be usual before anything is known.
FIRST_S = 50e-6
# So many waits between two trials, and so many in a trial: tried wrongly, they cost 1 or 2 per cent.
USUAL_WAITS, TRIAL_WAITS = 1000, 8
# But only so many after a change: where others disturbed the trial, it was a change for the worse.
WAITS_AFTER_CHANGE = 100
# The other way must have taken less than this part of the usual wait. Sleeping must have been much better, as it is
# where both sides share a processor: that much is no accident on a machine that others slow down, too.
SPIN_BETTER, SLEEP_BETTER = 0.95, 0.75


class AdaptiveSpin:
    """Says whether to look, and learns from how long that took.

    ``yields_cpu``: whether this side is the one to sleep where others run between its looks. One of the two is enough:
    where both sleep each step takes two wakings, where neither does each only keeps the other from running.
    """

    def __init__(self, yields_cpu=False):
        self._yields_cpu = yields_cpu
        self.spinning = True  # whether to look during the wait that comes
        self.spin_s = SPIN_S  # and for how long
        self._usual_s = FIRST_S
        self._contention = 0.0  # the share of late waits in which somebody else ran between the looks
        self._trial_s = 0.0
        self._is_trial = False
        self._left = WAITS_AFTER_CHANGE

    def record_wait(self, wait_s, polls=0):
        """Take note of how long a wait took, and of how many looks it consisted; 0 where it ended in sleep."""
        self._left -= 1
        if polls:
            self._contention += ((wait_s > polls * POLL_COSTS_S) - self._contention) * WEIGHT
        if self._is_trial:
            self._trial_s += min(wait_s, COUNTED * self._usual_s) / TRIAL_WAITS
            if not self._left:
                self._end_trial()
            return
        usual_s = self._usual_s
        counted_s = COUNTED * usual_s if wait_s > COUNTED * usual_s else wait_s
        self._usual_s = usual_s = usual_s + (counted_s - usual_s) * WEIGHT
        if usual_s > WORTH_SPINNING_S:
            self.spinning = False
        elif self.spinning and self._is_contended():
            self.spinning, self._left = False, WAITS_AFTER_CHANGE
        elif self._left <= 0:
            self._begin_trial()
        self.spin_s = 2 * usual_s if 2 * usual_s > SPIN_S else SPIN_S

    def _is_contended(self):
        return self._yields_cpu and self._contention > MAX_CONTENTION

    def _begin_trial(self):
        self._is_trial, self._trial_s, self._left = True, 0.0, TRIAL_WAITS
        self.spinning = not self.spinning

    def _end_trial(self):
        self._is_trial = False
        if (
            not (self.spinning and self._is_contended())
            and self._trial_s < (SPIN_BETTER if self.spinning else SLEEP_BETTER) * self._usual_s
        ):
            self._usual_s, self._left = self._trial_s, WAITS_AFTER_CHANGE
        else:
            self.spinning, self._left = not self.spinning, USUAL_WAITS
