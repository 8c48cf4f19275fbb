"""Neural networks whose size nobody had to choose: they grow while they train.

The public names are listed in `__init__.pyi`; each is imported when it is first used, because
JAX takes seconds to import and `senn --help` should not.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
