"""From an entry to a running server, for each kind of server. Python 3.10."""
