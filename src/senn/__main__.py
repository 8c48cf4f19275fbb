"""`senn`, and `python -m senn`."""

import signal
import sys

from senn import cli


def main() -> None:
    """Run the command; Ctrl-C while Python shuts down, once all is said, is not an error."""
    code = cli.main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    main()
