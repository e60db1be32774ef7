#!/usr/bin/env bash
# cpprb 11.0.0: with Nstep, the last transitions of an episode have ones for a next observation.
#
# Guess before the run: a ReplayBuffer with Nstep of size N has, for the last N - 1 transitions of an episode, the sum
# of the rewards that are left, and as next_obs the last observation of the episode. on_episode_end is called after
# each episode, as it has to be, also when an episode is cut at a certain length and done is not set.
# Seen: the rewards are right. next_obs is ones, which no observation is, for each of the last N - 1 transitions. Where
# done is 1 a learner does not look at it. In an episode that a time limit has cut, done is 0, so it takes its target
# from the value of a state of ones. Of an episode of 200 steps with N = 5 that is one transition in fifty, of 10 steps
# it is four of ten. Without Nstep the same calls give what was added. Nothing is raised.
#
# Output seen, of two episodes of 6 steps, each cut by a time limit, with observations from 100 and from 200 on:
#   plain: obs 100 101 102 103 104 105 200 201 202 203 204 205
#   plain: next_obs 101 102 103 104 105 106 201 202 203 204 205 206
#   Nstep of 3: obs 100 101 102 103 104 105 200 201 202 203 204 205
#   Nstep of 3: next_obs 103 104 105 106 1 1 203 204 205 206 1 1
#   Nstep of 3: rew 3 3 3 3 2 1 3 3 3 3 2 1
#   Nstep of 3: done 0 0 0 0 0 0 0 0 0 0 0 0
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cpprb==11.0.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import cpprb

VALUES = {"obs": {}, "rew": {}, "next_obs": {}, "done": {}}


def show(words, keys, **options):
    """What the buffer holds of two episodes that end by a time limit."""
    buffer = cpprb.ReplayBuffer(64, VALUES, **options)
    for start in (100, 200):
        for step in range(start, start + 6):
            buffer.add(obs=step, rew=1, next_obs=step + 1, done=0)
        buffer.on_episode_end()
    held = buffer.get_all_transitions()
    for key in keys:
        print(f"{words}: {key}", *(f"{value:g}" for value in held[key].ravel()))


show("plain", ("obs", "next_obs"))
nstep = {"size": 3, "rew": "rew", "gamma": 1.0, "next": "next_obs"}
show("Nstep of 3", ("obs", "next_obs", "rew", "done"), Nstep=nstep)
PYTHON
diff "$folder/output" - <<'EXPECTED'
plain: obs 100 101 102 103 104 105 200 201 202 203 204 205
plain: next_obs 101 102 103 104 105 106 201 202 203 204 205 206
Nstep of 3: obs 100 101 102 103 104 105 200 201 202 203 204 205
Nstep of 3: next_obs 103 104 105 106 1 1 203 204 205 206 1 1
Nstep of 3: rew 3 3 3 3 2 1 3 3 3 3 2 1
Nstep of 3: done 0 0 0 0 0 0 0 0 0 0 0 0
EXPECTED
