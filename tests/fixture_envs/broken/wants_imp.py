"""Written for Python 3.11 or older."""

import imp  # noqa: F401
