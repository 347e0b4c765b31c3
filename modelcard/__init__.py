"""The model cards: facts read from a run's artifacts, rendered purely."""
