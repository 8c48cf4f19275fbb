"""What a user can mend, whichever sub-command it is."""


class UsageError(ValueError):
    """Something the user can mend; the message is one sentence."""
