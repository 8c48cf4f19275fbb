"""The sizes that arrays are rounded up to, so that what is compiled for one table serves others.

A program belongs to shapes. How many rows a table has never reaches one: rows are cut into blocks
of few sizes, or filled up to them with rows of no weight. Inputs and outputs reach it rounded up
to `in_slots` and `out_slots`; spare ones are dormant, like spare units.
"""

SMALL = (64, 128, 256, 512)  # up to these, inputs are rounded up to one: tables share programs
FEW = (1, 16)  # and outputs first to one of these
FINE = 16  # above, to a multiple of this: there a step's time goes with the size
FEWEST_ROWS, ROW_FACTOR = 512, 4
FEWEST_NUMBERS, FEWEST_IN_TABLE = 2**21, 2**14  # that a table in memory has room for


def in_slots(n: int) -> int:
    """Inputs to set aside for n of them: 64, 128, 256, 512, then multiples of 16."""
    return _rounded_up(n, SMALL)


def out_slots(n: int) -> int:
    """Outputs to set aside for n of them: 1, 16, 64, 128, then multiples of 16."""
    return _rounded_up(n, (*FEW, *SMALL[:2]))


def _rounded_up(n: int, sizes: tuple[int, ...]) -> int:
    return next((size for size in sizes if n <= size), -(-n // FINE) * FINE)


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


def table_rows(n: int, columns: int) -> int:
    """The rows that a table with n of them has room for, a power of two.

    Small ones have room for as many rows as make 2**21 numbers, 2**14 at most: what is not used
    of it costs no memory until it is written to.
    """
    fewest = min(FEWEST_NUMBERS // max(columns, 1), FEWEST_IN_TABLE)
    return max(_power_of_two(n), _power_of_two(fewest + 1) // 2)


def _power_of_two(n: int) -> int:
    return 1 << max(n - 1, 0).bit_length()
