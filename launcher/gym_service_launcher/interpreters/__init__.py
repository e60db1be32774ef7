"""Which Python a name means, what is installed in it, and how one is built. Python 3.10."""
