"""What lets a training be ended at any moment and go on: its state, checkpoints of it, and what notices an end."""
