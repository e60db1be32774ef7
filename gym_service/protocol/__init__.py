"""The wire as data: frames, messages, values and layouts. Sans-I/O; Python 3.6 and numpy."""
