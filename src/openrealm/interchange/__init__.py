"""Other programs' files in and out: published REALM weights and their blocks; no run, no recipe."""
