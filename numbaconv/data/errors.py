"""The one error that reading, finding and downloading data sets raises."""

from __future__ import annotations


class DataError(ValueError):
    """Something is wrong with a data file, or a data set cannot be had; the message is one sentence for the user."""
