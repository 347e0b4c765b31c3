"""Every fault at every request of a release: whole or not there, and the next call completes it."""
