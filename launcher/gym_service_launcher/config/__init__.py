"""envs.toml: how it is found and read, and how its values are checked. Python 3.10 and up."""
