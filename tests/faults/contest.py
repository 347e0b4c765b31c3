"""Many publishers at once, to the same repositories and tag, each with other content: one wins."""
