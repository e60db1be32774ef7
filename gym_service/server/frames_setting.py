"""The setting ``frames`` of a recipe: how images travel to the client.

Knows when image_codec.py is needed, and imports it only then. Never knows an env. Python 3.6 and up.
"""

RAW = "raw"  # the setting for which image_codec.py is not imported


def image_encoder_for(frames):
    """The encoder for a ``frames`` setting, or None; and the name of the setting for users."""
    if type(frames) is str and frames == RAW:
        return None, RAW
    from gym_service.transport import image_codec

    return image_codec.encoder_for(frames), image_codec.shown(frames)
