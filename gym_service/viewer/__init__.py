"""The page of ``gym-service view``: what the simulators of this user do. Python 3.10 and up."""
