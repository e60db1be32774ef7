"""Chooses how to wait for the peer: poll the stream in a loop (spin), or sleep until it is readable.

Knows how long waits took in either way. Never knows a stream. Python 3.6 and up; runs on both sides.

On idle processors, waking a sleeping process costs 10 to 60 us, several times in a light step. Spinning saves that. On
busy processors, both sides take turns on one of them: waking is cheap there, and a spinning side only delays the other
one. Two measurements tell the two cases apart. First, a spinning side offers the processor to other processes between
polls; if another process takes it, most polls take longer than a poll alone can. Second, from time to time a few waits
use the other way, as a trial, and the faster way is kept.

An interrupt may end ``record_wait`` at any line. Then one wait is counted only in part. That is harmless: every count
is compared with "at most", never with "exactly".
"""

# The shortest spin. The peer can wake up once in that time; then both sides are awake.
SPIN_S = 200e-6
# In waits that usually take longer than this, waking up is a small part, and other processes may need the processor.
WORTH_SPINNING_S = 1000e-6
# The most that one wait counts, as a multiple of the usual wait, and its weight in the running mean.
COUNTED, WEIGHT = 4.0, 1 / 16
# A poll costs 1 to 2 us if no other process takes the processor, and the read that ends a wait up to 10 us on a slow
# machine. If a wait takes longer, another process has run.
POLL_COSTS_S, READ_COSTS_S = 5e-6, 10e-6
MAX_CONTENTION = 0.5
# The usual wait before the first measurement.
FIRST_S = 50e-6
# The number of waits between two trials, and in one trial. A trial of the slower way costs 1 or 2 per cent. Trials of
# spinning come sooner at first: see ``_end_trial``.
USUAL_WAITS, TRIAL_WAITS = 1000, 8
# Fewer waits after a change: other processes may have disturbed the trial, and the change may be a mistake.
WAITS_AFTER_CHANGE = 100
# The other way must take less than this fraction of the usual wait. Sleeping must be much faster, as it is where both
# sides share a processor: so large a difference does not arise by accident on a busy machine.
SPIN_BETTER, SLEEP_BETTER = 0.95, 0.75


class AdaptiveSpin:
    """Decides whether to spin, from how long past waits took.

    ``yields_cpu``: whether this side sleeps if other processes run between its polls. One of the two sides should. If
    both sleep, each step needs two wake-ups; if neither does, each side keeps the other from running.
    ``measured_every``: how many waits one recorded wait stands for, except in a trial. The caller counts ``unmeasured``
    down before each wait, and records the wait if that is below 0 then.
    """

    def __init__(self, yields_cpu=False, measured_every=1):
        self._yields_cpu = yields_cpu
        self._measured_every = measured_every
        self.unmeasured = 0  # how many of the next waits need not be recorded
        self.spinning = True  # whether to spin during the next wait
        self.spin_s = SPIN_S  # how long to spin
        self._usual_s = FIRST_S
        self._contention = 0.0  # the share of late waits in which another process ran between the polls
        self._trial_s = 0.0
        self._is_trial = False
        self._left = WAITS_AFTER_CHANGE
        self._retry_after = WAITS_AFTER_CHANGE  # the number of waits between two trials of spinning

    def record_wait(self, wait_s, polls=0):
        """Record how long a wait took and how many polls it needed; 0 polls if it ended in sleep.

        The usual wait and the contention are running means of the recorded waits.
        """
        if polls:
            self._contention += ((wait_s > READ_COSTS_S + polls * POLL_COSTS_S) - self._contention) * WEIGHT
        if self._is_trial:
            self._left -= 1
            self._trial_s += min(wait_s, COUNTED * self._usual_s) / TRIAL_WAITS
            if self._left <= 0:
                self._end_trial()
            return
        self._left -= self._measured_every
        self.unmeasured = self._measured_every - 1
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
        self._is_trial, self._trial_s, self._left, self.unmeasured = True, 0.0, TRIAL_WAITS, 0
        self.spinning = not self.spinning
        if self.spinning:
            # The past does not count, only whether others run in most of the waits of this trial.
            self._contention = MAX_CONTENTION * (1 - WEIGHT) ** (TRIAL_WAITS // 2)

    def _end_trial(self):
        self._is_trial = False
        if (
            not (self.spinning and self._is_contended())
            and self._trial_s < (SPIN_BETTER if self.spinning else SLEEP_BETTER) * self._usual_s
        ):
            self._usual_s, self._left = self._trial_s, WAITS_AFTER_CHANGE
        elif self.spinning:
            # Often both sides share a processor only until the scheduler moves one of them, so it is tried again soon.
            self.spinning, self._left = False, self._retry_after
            self._retry_after = min(2 * self._retry_after, USUAL_WAITS)
        else:
            self.spinning, self._left = True, USUAL_WAITS
            self._retry_after = WAITS_AFTER_CHANGE
