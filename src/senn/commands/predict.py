"""`senn predict`: a model's predictions beside the rows that they are for."""

import argparse
import csv
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from senn.commands.arguments import add_debug_option, add_machine_options
from senn.commands.completion import DATA, FILES, completes
from senn.commands.errors import DONE, UsageError
from senn.commands.files import check_new, written
from senn.commands.images import columns_read
from senn.commands.judge import classifies, judge_of
from senn.commands.models import add_model, load_model
from senn.machine import give_memory_back

EXAMPLES = """\
examples:
  senn predict run new.csv                          csv on standard output
  senn predict run new.parquet --out predicted.csv
  senn predict run houses.csv --target price --out predicted.csv
                                                    and R² or the accuracy on standard error
  senn predict run/model.senn digits | head         the test rows of a named data set
  senn predict run clicks --out predicted.csv       a folder of .parquet or .csv files, of any size
  senn predict run photos --target class            the images of a folder, by the names of files

The columns that the model was trained on are found by their names, wherever they stand; all
others are carried through. Added are `prediction` and, for classes, one `probability_<label>`
each. Gaps and categories that training did not have are welcome. A row in which there is no
number where one is wanted ends it; standard output then has the rows before it.
"""


def add_parser(commands: Any, style: dict[str, Any]) -> None:
    """Add the sub-command to those of `senn`."""
    parser = commands.add_parser(
        "predict",
        help="predict the rows of a table with a trained model",
        description="Predict the rows of DATA with the model in RUN, and write them as csv.",
        epilog=EXAMPLES,
        missing="say which run and which data, such as senn predict run new.csv; "
        "senn predict --help tells more",
        **style,
    )
    add = parser.add_argument
    add_model(add)
    completes(add("data", metavar="DATA",
        help="a file, or a folder of images or of tables, such as senn train reads, or the test "
        "rows of digits, moons, mnist, fashion-mnist, cifar10"),
        DATA)  # fmt: skip
    completes(add("--out", metavar="FILE", help="csv file (default: standard output)"), FILES)
    add("--overwrite", action="store_true", help="replace the file that --out names")
    add("--target", metavar="COLUMN",
        help="what is to be predicted, to say on standard error how well it was")  # fmt: skip
    add("--encoding", metavar="NAME", help="of a file of text (default: told from it)")
    add("--data-dir", metavar="DIR", help="where the files of mnist, fashion-mnist or cifar10 are")
    add_machine_options(parser)
    add_debug_option(add)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, predict and write, some thousand rows at a time."""
    out = None if arguments.out is None else Path(arguments.out).expanduser()
    if out is not None:
        check_new(out, overwrite=arguments.overwrite)
    give_memory_back()
    estimator = load_model(arguments.model)

    from senn.readers import DataError

    with _mended(DataError, f"{arguments.data}: "):
        score = _predict(arguments, estimator, out)
    if score is not None:
        print(score, file=sys.stderr)
    return DONE


def _predict(arguments: argparse.Namespace, estimator: Any, out: Path | None) -> str | None:
    """Write all rows; how well they were predicted, if a target was named."""
    table, columns = _opened(arguments, estimator)
    added = _added_names(estimator)
    _check_added(table.names, added)
    places = table.positions(columns)
    judge = judge_of(estimator, table, arguments.target) if arguments.target else None
    with _stream(out) as stream:
        writer = csv.writer(stream, delimiter=table.separator, lineterminator="\n")
        writer.writerow([*table.names, *added])
        for chunk in table.chunks():
            predicted, cells = _cells(estimator, chunk, places)
            writer.writerows([*row, *new] for row, new in zip(chunk.cells, cells, strict=True))
            if judge:
                judge.see(chunk, predicted)
        stream.flush()
    return judge.verdict() if judge else None


def _opened(arguments: argparse.Namespace, estimator: Any) -> tuple[Any, list[str]]:
    """The rows to predict, and the columns of them that the model reads."""
    from senn.commands.folders import open_folder, shape_read
    from senn.rows import open_folder_of_tables, open_rows

    columns, path = columns_read(estimator), Path(arguments.data).expanduser()
    if not os.path.isdir(path):
        return open_rows(arguments.data, columns, arguments.data_dir, arguments.encoding), columns
    if shape_read(estimator):
        return open_folder(arguments.data, estimator), []
    return open_folder_of_tables(path, columns, arguments.encoding), columns


@contextmanager
def _mended(kind: type[Exception], start: str) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise UsageError(f"{start}{str(error).removeprefix(start)}") from error


def _stream(out: Path | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if out is None else written(out)


def _added_names(estimator: Any) -> list[str]:
    if classifies(estimator):
        if estimator._multi_label:
            return [f"{what}_{k}" for what in ("prediction", "probability")
                    for k in estimator.classes_.tolist()]  # fmt: skip
        return ["prediction", *(f"probability_{label}" for label in estimator.classes_.tolist())]
    n = estimator._plain.out_size
    return ["prediction"] if n == 1 else [f"prediction_{output}" for output in range(n)]


def _check_added(names: Sequence[str], added: Sequence[str]) -> None:
    from senn.readers import DataError

    taken = next((name for name in added if name in names), None)
    if taken is not None:
        raise DataError(
            f"there is a column {taken!r} already, which predictions are to be called: "
            "rename it or leave it out."
        )


def _cells(estimator: Any, chunk: Any, places: Sequence[int]) -> tuple[Any, list[list[str]]]:
    """Predictions [N] or [N, O] of a chunk, and the cells to add to its rows."""
    x = _read(estimator, chunk, places)
    if not classifies(estimator):
        values = estimator.predict(x)
        return values, [
            [f"{v:.9g}" for v in row] for row in values.reshape(len(chunk.cells), -1).tolist()
        ]
    probabilities = estimator.predict_proba(x)
    if estimator._multi_label:
        several = (probabilities > 0.5).astype(int)
        return several, [
            [*map(str, row), *(f"{p:.9g}" for p in chances)]
            for row, chances in zip(several.tolist(), probabilities.tolist(), strict=True)
        ]
    labels = estimator.classes_[probabilities.argmax(axis=1)]
    return labels, [
        [str(label), *(f"{p:.9g}" for p in row)]
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]


def _read(estimator: Any, chunk: Any, places: Sequence[int]) -> Any:
    """What the model reads of a chunk: images, numbers or a table."""
    import numpy as np

    names, shape = columns_read(estimator), estimator._image_shape
    if hasattr(chunk, "x"):
        return chunk.x if shape else chunk.x.reshape(len(chunk.x), -1)
    if estimator._columns is not None:
        return chunk.table(places, names)
    # Of images, or of a time when `senn train` read numbers alone.
    columns = [chunk.numbers(p, name) for p, name in zip(places, names, strict=True)]
    x = np.column_stack(columns).astype(np.float32)
    return x.reshape(len(x), *shape) if shape else x
