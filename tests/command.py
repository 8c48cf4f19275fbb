"""The command `senn`, run in this process."""

import contextlib
import io
import re

from senn.cli import main


def run(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `senn`."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def refused(words, message: str) -> None:
    """Exit code 2, one sentence on standard error, nothing on standard output."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert re.search(message, err), err
    assert err.startswith("senn: ")
    assert err.endswith((".\n", "?\n"))
    assert err.count("\n") == 1
