"""envs.toml: where it lies, what it says, and how its values are checked. Python 3.10."""
