"""Written for Python 3.9 or older."""

from collections import Mapping  # noqa: F401, UP035
