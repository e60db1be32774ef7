"""Vector envs need Gymnasium 1.0 on the client's side, and what they are compared with has its modes since 1.1."""

import gymnasium

VERSION = tuple(int(part) for part in gymnasium.__version__.split(".")[:2])
collect_ignore_glob = ["test_*.py"] if VERSION < (1, 4) else []
