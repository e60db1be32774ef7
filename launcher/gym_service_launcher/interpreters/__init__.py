"""Finds, checks and builds the interpreters of simulators. Python 3.10 and up."""
