"""The image: built from a commit, compared with its like, and run. Knows `recipe`; only the command line knows it."""
