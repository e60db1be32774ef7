#!/usr/bin/env bash
# highway-env 1.12.1: with some policy frequencies an episode simulates two thirds of the seconds that it counts.
#
# Guess before the run, from what the names of the settings say: with policy_frequency=10 and duration=20 highway-v0
# takes 200 steps and drives for 20 s, and with each other frequency it drives as far. With policy_frequency=5 it takes
# 100 steps.
# Seen: the simulation runs at simulation_frequency, 15 Hz by default, and each step takes the whole number of its
# frames (15 // 10 is 1), while the env's clock counts 1 / policy_frequency. With 10 Hz a step moves the cars by 1/15 s
# and counts 1/10 s. So a car at 25 m/s drives 333 m in what is an episode of 20 s, and durations, rewards per second
# and speeds that are worked out from positions are off by a third. 2 and 4 Hz lose 7 and 20 per cent. Nothing is
# raised or warned of. Frequencies that divide 15 are exact, but for the rounded sum of 1/5 s: after 100 steps it is a
# little below 20, so there is one more.
#
# Output seen, of an episode of 20 s on an empty road at 25 m/s, which is 500 m:
#   1 Hz: 20 steps, 20.0 s counted, 20.0 s simulated, 500 m
#   2 Hz: 40 steps, 20.0 s counted, 18.7 s simulated, 467 m
#   4 Hz: 80 steps, 20.0 s counted, 16.0 s simulated, 400 m
#   5 Hz: 101 steps, 20.2 s counted, 20.2 s simulated, 505 m
#   10 Hz: 200 steps, 20.0 s counted, 13.3 s simulated, 333 m
#
# Needs Python 3.12 and PyPI. Exits with 0 while the behaviour is as written here, with 1 when it has changed.
set -euo pipefail
python=${PYTHON:-$(compgen -G "$(pyenv root 2>/dev/null)/versions/3.12.*/bin/python" | tail -n 1 || echo python3.12)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet highway-env==1.12.1 gymnasium==1.4.0 numpy==2.5.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tee "$folder/output"
import gymnasium
import highway_env  # noqa: F401 - it registers the envs

IDLE = 1
for frequency in (1, 2, 4, 5, 10):
    config = {"policy_frequency": frequency, "duration": 20, "vehicles_count": 0}
    env = gymnasium.make("highway-v0", config=config)
    env.reset(seed=1)
    raw = env.unwrapped
    start, steps, truncated = raw.vehicle.position[0], 0, False
    while not truncated:
        _, _, terminated, truncated, _ = env.step(IDLE)
        assert not terminated
        steps += 1
    simulated = raw.steps / raw.config["simulation_frequency"]
    meters = raw.vehicle.position[0] - start
    print(f"{frequency} Hz: {steps} steps, {raw.time:.1f} s counted, {simulated:.1f} s simulated, {meters:.0f} m")
PYTHON
diff "$folder/output" - <<'EXPECTED'
1 Hz: 20 steps, 20.0 s counted, 20.0 s simulated, 500 m
2 Hz: 40 steps, 20.0 s counted, 18.7 s simulated, 467 m
4 Hz: 80 steps, 20.0 s counted, 16.0 s simulated, 400 m
5 Hz: 101 steps, 20.2 s counted, 20.2 s simulated, 505 m
10 Hz: 200 steps, 20.0 s counted, 13.3 s simulated, 333 m
EXPECTED
