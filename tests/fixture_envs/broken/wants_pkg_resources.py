"""Imports pkg_resources, as simulators of 2021 do: setuptools used to contain it."""

import pkg_resources  # noqa: F401
