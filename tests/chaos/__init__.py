"""Runs killed anywhere, any number of times, and run again: at the end the bytes of one that nobody disturbed."""
