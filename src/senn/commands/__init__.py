"""The sub-commands of `senn`, one a module."""
