"""Needs a package that is not installed."""

import no_such_dependency  # noqa: F401
