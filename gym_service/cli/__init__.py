"""The command ``gym-service``: one file for each of its commands. Python 3.10 and up."""
