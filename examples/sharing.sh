#!/usr/bin/env bash
# Pin an entry, give it to somebody else, and prove that it gives the same values there: bash examples/sharing.sh
# Needs gym-service[uv] and a network. Works in a temporary folder; docs/sharing.md explains each line.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/mine" "$folder/theirs"

cd "$folder/mine"
cat > envs.toml <<'TOML'
[interpreters.minigrid]
python   = "3.10"
requires = ["minigrid==2.3.1", "gymnasium==0.29.1", "numpy<2"]

[envs."DoorKey-v0"]
interpreter = "minigrid"
id          = "MiniGrid-DoorKey-5x5-v0"
imports     = ["minigrid"]
TOML
gym-service sync
gym-service lock                                  # exact versions, and a hash of a hundred steps
gym-service export DoorKey-v0 -o "$folder/bundle.toml"

cd "$folder/theirs"
gym-service add --yes "$folder/bundle.toml"       # without --yes it shows the bundle and asks
gym-service sync --locked
gym-service lock --check                          # plays the hundred steps again
echo "the same versions and the same values"
