"""What the checks run by path in the target's interpreter. Python 3.6 and numpy."""
