"""What a user can mend, whichever sub-command it is, and how the command ends."""

DONE, UNEXPECTED, WRONG, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141


class UsageError(ValueError):
    """Something the user can mend; the message is one sentence."""


class NotSavedError(OSError):
    """A result that cannot be written; the message is one sentence."""
