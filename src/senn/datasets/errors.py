"""Errors about data."""

from senn.readers import DataError


class DataTypeError(DataError, TypeError):
    """Values of a type that no number can be read from."""
