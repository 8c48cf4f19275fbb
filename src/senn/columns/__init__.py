"""Tables of any kind as numbers: what each column holds, how it becomes inputs, and in words.

Learned from the rows to train on, kept as JSON with the model, and computed by
`senn.standalone.numpy_columns`, with NumPy alone.
"""

from senn.columns.described import described as described
from senn.columns.described import treatments as treatments
from senn.columns.encoder import Columns as Columns
from senn.columns.learning import Wishes as Wishes
from senn.columns.learning import learn as learn
from senn.columns.naming import input_names as input_names
from senn.columns.table import Table as Table
from senn.columns.table import is_table as is_table
from senn.columns.table import table_of as table_of
