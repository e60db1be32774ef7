"""Files that run by path, or are sent over a link. The standard library alone; Python 3.6."""
