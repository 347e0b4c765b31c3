"""The data set of a release: the run's pairs in columns that others' tools read, and its card."""
