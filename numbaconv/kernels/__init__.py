"""The loops: one family a file, the same file names for every backend."""
