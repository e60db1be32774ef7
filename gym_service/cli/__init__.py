"""The ``gym-service`` program: one file per command. Python 3.10."""
