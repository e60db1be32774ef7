"""Runs the guardian from its byte code.

Python compiles a program that is run by path each time, and keeps the byte code of modules. The first server of a
process waits for the guardian's start, so guardian.py is loaded as a module.

Knows guardian.py beside it, which has the contract of the command line. Never knows a server. Standard library only,
Python 3.6 and up.
"""

import os
import sys
import types
from importlib.machinery import SourceFileLoader

if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guardian.py")
    guardian = types.ModuleType("gym_service_guardian")
    guardian.__file__ = path
    SourceFileLoader(guardian.__name__, path).exec_module(guardian)
    guardian.main(*sys.argv[1:])
