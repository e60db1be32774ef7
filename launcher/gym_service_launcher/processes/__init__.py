"""Child processes, their guardian, their output and their pid files. Python 3.10."""
