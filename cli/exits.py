"""Exit codes that are not 0, 1 (failure) or 2 (wrong usage)."""

INTERRUPTED = 130
"""After Ctrl-C: 128 + SIGINT, as shells report it."""
