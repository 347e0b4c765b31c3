"""Two recipes that differ in their data only, side by side: `run` drives, `result` says, `view` and `figure` show."""
