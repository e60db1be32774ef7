"""``gym-service run``: accepts clients and starts a server for each. Python 3.10 and up."""
