"""`senn export`: a model for programs that have no senn."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senn.commands.arguments import add_debug_option
from senn.commands.completion import FILES, completes
from senn.commands.errors import DONE, UsageError
from senn.commands.files import check_new, unwritable_told
from senn.commands.models import add_model, load_model

EXAMPLES = """\
examples:
  senn export run model.onnx             for onnxruntime, in any language
  senn export run model.npz              for NumPy alone: arrays, and model_predict.py beside them
  senn export run/model.senn model.npz

The scaling of the inputs, the labels and the scale of the targets are part of the export.
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "export",
        help="write a trained model for ONNX or for NumPy",
        description="Write the model in RUN as FILE, which is predicted with without senn.",
        epilog=EXAMPLES,
        missing="say which run and which file, such as senn export run model.onnx; "
        "senn export --help tells more",
        **style,
    )
    add = parser.add_argument
    add_model(add)
    completes(add("file", metavar="FILE", help="a file ending in .onnx or .npz"), FILES)
    add("--overwrite", action="store_true", help="replace the file that is there")
    add_debug_option(add)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file, and say what was written."""
    path = Path(arguments.file).expanduser()
    write = _writer(path)
    for file in _files(path):
        check_new(file, overwrite=arguments.overwrite)
    estimator = load_model(arguments.model)
    with unwritable_told(path):
        try:
            write(estimator, path)
        except ValueError as error:  # what that kind of file cannot hold
            raise UsageError(str(error)) from error
    for file in _files(path):
        print(f"{file}: {file.stat().st_size:,} bytes")
    return DONE


def _writer(path: Path) -> Callable[[Any, Path], None]:
    from senn import export

    kind = path.suffix.lower()
    if kind == ".npz":
        return export.to_numpy
    if kind != ".onnx":
        raise UsageError(f"FILE must end in .onnx or .npz; got {str(path)!r}.")
    try:
        return export.to_onnx
    except ImportError as error:
        raise UsageError(str(error)) from error


def _files(path: Path) -> list[Path]:
    """The files that an export consists of."""
    if path.suffix.lower() == ".onnx":
        return [path]
    from senn.export.numpy_file import program_beside

    return [path, program_beside(path)]
