"""What several tests share. Nothing here is a test. Python 3.10 and up, but for what says otherwise."""
