"""Batches of examples: from arrays in memory, or from a stream.

Data stay on the host. What goes to compiled programs has few shapes, however many rows there
are: batches and samples are filled up with rows of no weight (`filled`).
"""

from senn.batches.arrays import JUDGED as JUDGED
from senn.batches.arrays import JUDGED_NUMBERS as JUDGED_NUMBERS
from senn.batches.arrays import ArraySource as ArraySource
from senn.batches.batch import Batch as Batch
from senn.batches.chunk import Chunk as Chunk
from senn.batches.chunk import Position as Position
from senn.batches.filling import EXAMPLES_AT_ONCE as EXAMPLES_AT_ONCE
from senn.batches.filling import filled as filled
from senn.batches.moment import ROWS_AT_ONCE as ROWS_AT_ONCE
from senn.batches.moment import InputMoment as InputMoment
from senn.batches.passes import Passes as Passes
from senn.batches.passes import PassSource as PassSource
from senn.batches.room import FEWEST_IN_BLOCKS as FEWEST_IN_BLOCKS
from senn.batches.room import FEWEST_IN_SAMPLE as FEWEST_IN_SAMPLE
from senn.batches.room import Room as Room
from senn.batches.source import checked as checked
from senn.batches.source import make_source as make_source
from senn.batches.stream import FEWEST_IN_STREAM as FEWEST_IN_STREAM
from senn.batches.stream import StreamSource as StreamSource
