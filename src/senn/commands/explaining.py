"""What went wrong, in one sentence on standard error."""

import os
import sys
import traceback

from senn.commands.console import ReaderGoneError, to_nowhere
from senn.commands.errors import INTERRUPTED, UNEXPECTED, UNREAD, WRONG, NotSavedError, UsageError
from senn.stopping import LeftAtOnceError


def explain(error: BaseException, debug: bool) -> int:
    """Say it; the exit code. A traceback is for `debug` alone, or SENN_TRACEBACK=1."""
    if isinstance(error, BrokenPipeError | ReaderGoneError):
        to_nowhere(sys.stdout)
        return UNREAD
    if isinstance(error, UsageError):
        code, sentence = WRONG, str(error)
    elif isinstance(error, NotSavedError):
        code, sentence = UNEXPECTED, str(error)
    elif isinstance(error, LeftAtOnceError):
        code, sentence = INTERRUPTED, "left at once; what a last checkpoint holds is kept."
    elif isinstance(error, KeyboardInterrupt):
        sentence = str(error) or "interrupted, with nothing to report or to save yet."
        code = INTERRUPTED
    elif debug or os.environ.get("SENN_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error)
        return UNEXPECTED
    else:
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        how = "run it again with --debug, or with SENN_TRACEBACK=1, for the traceback"
        code, sentence = UNEXPECTED, f"something unexpected happened ({told}): {how}."
    print(f"senn: {sentence}", file=sys.stderr)
    return code
