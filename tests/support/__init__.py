"""Code that several tests share. Nothing here is a test. Python 3.10 and up, unless a module says otherwise."""
