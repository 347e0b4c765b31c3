"""`nox -s parity`: the 2023 stack itself, run beside ours on the same rows, weights and recipe."""
