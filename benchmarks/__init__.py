"""Measurements to run from a clone; no part of what is installed."""
