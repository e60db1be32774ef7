"""Vector envs need Gymnasium 1.0 on the client's side; the envs that tests compare them with need 1.1 for its modes."""

import gymnasium

VERSION = tuple(int(part) for part in gymnasium.__version__.split(".")[:2])
collect_ignore_glob = ["test_*.py"] if VERSION < (1, 4) else []
