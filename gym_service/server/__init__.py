"""The half that runs in the target: standard library and numpy only, Python 3.6 and up."""
