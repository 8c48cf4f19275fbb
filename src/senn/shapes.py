"""The sizes that arrays are rounded up to, so that what is compiled for one table serves others.

A program belongs to shapes. How many rows a table has never reaches one: rows are cut into blocks
of few sizes, or filled up to them with rows of no weight. Inputs and outputs reach it rounded up
to `slots`; spare ones are dormant, like spare units.
"""

SMALL = (16, 64)  # below, sizes are rounded up to one of these
FINE = 16  # above, to a multiple of this: there a step's time goes with the size
FEWEST_ROWS, ROW_FACTOR = 512, 4


def slots(n: int) -> int:
    """Inputs or outputs to set aside for n of them: 1, 16, 64, then multiples of 16."""
    if n <= 1:
        return n
    return next((size for size in SMALL if n <= size), -(-n // FINE) * FINE)


def rows(n: int, fewest: int = FEWEST_ROWS) -> int:
    """The rows of a block that holds n: `fewest`, or 4, 16, 64 ... times as many."""
    size = fewest
    while size < n:
        size *= ROW_FACTOR
    return size


def at_most(n: int, fewest: int = FEWEST_ROWS) -> int:
    """The largest of the sizes of `rows` that is not above n, if there is one, else n."""
    size = rows(n, fewest)
    return n if n < fewest else size if size == n else size // ROW_FACTOR
