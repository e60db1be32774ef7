"""One file for each API that a simulator may speak; each evens it out to Gymnasium's of today."""
