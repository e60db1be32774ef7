"""A program in another interpreter, on a lifeline.

Knows TOML, interpreters, processes, signals, clocks and logs. Never knows observations, actions or
spaces: it imports neither numpy nor gymnasium, nor ``gym_service``. Installed as
``gym_service_launcher``. Python 3.10 and up, except ``probe.py``, which is run by path from 3.6 up.
"""
