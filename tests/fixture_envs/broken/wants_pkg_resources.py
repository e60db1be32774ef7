"""As simulators of 2021: setuptools brought it."""

import pkg_resources  # noqa: F401
