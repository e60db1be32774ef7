"""The half that holds the env in the user's process: one call, one reply, one deadline."""
