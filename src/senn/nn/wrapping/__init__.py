"""Modules of Equinox as networks that can grow.

From a call's program (`tracing`) to the axes that belong together (`atoms`, `inference`), what is
done with every parameter (`uses`), spaces and sites (`spaces`, `tails`, `sites`, `building`), tried
on the module itself (`probing`).
"""

from senn.nn.wrapping.network import Wrapped as Wrapped
from senn.nn.wrapping.uses import WrapError as WrapError
from senn.nn.wrapping.wrap import wrap as wrap
