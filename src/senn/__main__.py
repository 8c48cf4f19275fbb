"""`python -m senn` is `senn`."""

import sys

from senn.cli import main

if __name__ == "__main__":
    sys.exit(main())
