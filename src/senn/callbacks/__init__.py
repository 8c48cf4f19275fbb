"""Objects that are told what happens during training, and may end it.

The names are listed in `__init__.pyi`, and imported when they are first used: the command shows
its help before it imports JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
