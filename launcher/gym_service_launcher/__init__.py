"""Starts a program in another interpreter, connects to it, and stops it.

Knows TOML, interpreters, processes, signals, clocks and logs. Never knows observations, actions or spaces: it imports
neither numpy, gymnasium nor ``gym_service``. It has no command line: ``gym-service`` is ``gym_service.cli``. Python
3.10 and up, except ``standalone/``, which runs on 3.6 and up.
"""
