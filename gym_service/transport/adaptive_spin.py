"""How to wait for the other side: poll the stream again and again (spin), or sleep on it.

Knows how long waits took, one way and the other. Never knows a stream. Python 3.6 and up; runs on both sides.

Where processors are idle, waking a process that sleeps costs 10 to 60 us, several times a light step, and spinning
saves that. Where every processor is busy, both sides take turns on one of them: waking is cheap then, and a side that
spins only keeps the other one from running. Two measurements tell which it is. Between two polls the processor is
offered to others; if somebody takes it, most polls take longer than a poll can. And now and then a few waits are done
the other way, as a trial; the way that took less time is kept.

An interrupt may end ``record_wait`` at any line. Then one wait is counted in part, which changes nothing that matters:
every count is compared with "at most", never with "exactly".
"""

# A spin lasts at least so long. The other side can wake up once in that time, and then both are awake.
SPIN_S = 200e-6
# Of a wait that usually takes longer than this the waking is a small part, and others may want the processor.
WORTH_SPINNING_S = 1000e-6
# What a single wait counts at most, as a multiple of the usual one, and what it counts for in the running mean.
COUNTED, WEIGHT = 4.0, 1 / 16
# A poll, with the offer that nobody takes, costs 1 to 2 us. Where the average is more, somebody else has run.
POLL_COSTS_S = 5e-6
MAX_CONTENTION = 0.5
# What counts as the usual wait before anything is known.
FIRST_S = 50e-6
# So many waits between two trials, and so many in a trial. A trial of the wrong way costs 1 or 2 per cent.
USUAL_WAITS, TRIAL_WAITS = 1000, 8
# Fewer after a change: others may have disturbed the trial, and then it was a change for the worse.
WAITS_AFTER_CHANGE = 100
# The other way must have taken less than this part of the usual wait. Sleeping must have been much better, as it is
# where both sides share a processor: that much does not happen by accident on a machine that others slow down.
SPIN_BETTER, SLEEP_BETTER = 0.95, 0.75


class AdaptiveSpin:
    """Says whether to spin, and learns from how long the waits took.

    ``yields_cpu``: whether this side sleeps where others run between its polls. It is enough if one of the two sides
    does. Where both sleep, each step takes two wakings; where neither does, each keeps the other from running.
    """

    def __init__(self, yields_cpu=False):
        self._yields_cpu = yields_cpu
        self.spinning = True  # whether to spin during the next wait
        self.spin_s = SPIN_S  # for how long
        self._usual_s = FIRST_S
        self._contention = 0.0  # the share of late waits in which somebody else ran between the polls
        self._trial_s = 0.0
        self._is_trial = False
        self._left = WAITS_AFTER_CHANGE

    def record_wait(self, wait_s, polls=0):
        """Note how long a wait took, and how many polls it consisted of; 0 if it ended in sleep."""
        self._left -= 1
        if polls:
            self._contention += ((wait_s > polls * POLL_COSTS_S) - self._contention) * WEIGHT
        if self._is_trial:
            self._trial_s += min(wait_s, COUNTED * self._usual_s) / TRIAL_WAITS
            if self._left <= 0:
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
