"""Progress for people: a live display on a terminal, plain lines elsewhere."""
from senn.callbacks import Callback


class Progress(Callback):
    """To be written."""
