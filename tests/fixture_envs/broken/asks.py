"""Asks a question when it is imported."""

input("Download the ROMs? [y/N] ")
