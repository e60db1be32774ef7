"""The only I/O of gym_service: streams, shared memory, image coding. Python 3.6 and numpy."""
