"""Rendered frames as a video, a GIF or a contact sheet. Python 3.10."""
