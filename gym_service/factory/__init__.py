"""The only package that imports both halves: the client and the launcher. Python 3.10."""
