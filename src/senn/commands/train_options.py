"""The options of `senn train`."""

import argparse
from typing import Any

from senn.commands import devices, images, streamed
from senn.commands.arguments import (
    add_debug_option,
    add_machine_options,
    choice,
    layer_sizes,
    names,
    number,
    whole,
)
from senn.commands.completion import DATA, FOLDERS, completes

# Units per hidden layer to start with; every other table starts with OTHER_SIZES.
FIRST_SIZES: dict[str, tuple[int, ...]] = {
    "moons": (),
    "digits": (4,),
    "mnist": (10,),
    "fashion-mnist": (10,),
}
OTHER_SIZES = (10,)

# Names that the library knows, its default first; here to be checked before it is imported.
ACTIVATIONS = ("rational", "relu", "silu", "gelu", "tanh")
OPTIMIZERS = ("kfac", "natural_gradient", "warm_natural_gradient", "adam")
METRICS = ("fisher", "euclidean")
TASKS = ("classification", "regression")


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them, with what to train on."""
    _add_options(parser)
    images.add_options(parser)
    devices.add_options(parser)
    add_machine_options(parser)
    _add_output_options(parser)


def usual() -> dict[str, Any]:
    """What the options of `senn train` are if nobody says."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return vars(parser.parse_args([]))


def _add_options(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="digits, moons, mnist, fashion-mnist, cifar10, a folder of images by class or of "
        "tables, or a table: .csv, .tsv, .txt (or .gz, .zip), .xlsx, .parquet, .feather, .npz or "
        ".npy",
    )
    completes(data, DATA)
    add = parser.add_argument_group("data").add_argument
    add("--target", metavar="COLUMN", help="what to learn (default: the last column)")
    add("--drop", type=names, metavar="COLUMNS", default=(),
        help="columns to leave out, such as id,name")  # fmt: skip
    add("--categorical", type=names, metavar="COLUMNS", default=(),
        help="columns of categories besides those that look like it: zip,month")  # fmt: skip
    add("--encoding", metavar="NAME", help="of a file of text (default: told from it)")
    add("--task", type=choice(TASKS), choices=TASKS, metavar="TASK",
        help="classification or regression (default: told from the target)")  # fmt: skip
    completes(add("--data-dir", metavar="DIR",
        help="where the files of mnist, fashion-mnist or cifar10 are"), FOLDERS)  # fmt: skip
    add("--test-fraction", type=number(0.0, 1.0), metavar="F", default=0.2,
        help="share of a table kept apart for the test score (default: 0.2)")  # fmt: skip
    streamed.add_options(add)
    add("--no-standardize", action="store_true",
        help="leave inputs as they are (default: tables are standardised, images not)")  # fmt: skip
    add("--bins", type=whole(0), metavar="B",
        help="intervals that columns of a table are coded by, 0 for none (default: 8 for classes, "
        "16 for numbers)")  # fmt: skip

    add = parser.add_argument_group("size").add_argument
    add("--hidden-sizes", type=layer_sizes, metavar="N,N",
        help="units per hidden layer to start with, such as 10,10, or none for a linear start "
        "(default: none for moons, 4 for digits, else 10)")  # fmt: skip
    add("--max-units", type=whole(0), metavar="U", help="most hidden units in all")
    add("--max-layers", type=whole(0), metavar="L", help="most hidden layers")
    add("--max-parameters", type=whole(1), metavar="P", help="most parameters")
    add("--no-width", action="store_true", help="add no units to layers")
    add("--no-depth", action="store_true", help="insert no layers")
    add("--tau", type=number(1.0), metavar="T",
        help="expansion threshold τ: what is added must raise the score τ-fold")  # fmt: skip
    add("--alpha", type=number(0.0), metavar="A",
        help="stopping criterion α: and gain this share of what is left to gain")  # fmt: skip

    add = parser.add_argument_group("training").add_argument
    add("--seed", type=whole(0, 2**32 - 1), metavar="S", default=0, help="(default: 0)")
    add("--max-seconds", type=number(0.0), metavar="T", help="most seconds of training")
    add("--max-iter", type=whole(1), metavar="N", help="most passes over the data")
    add("--batch-size", type=whole(1), metavar="B",
        help="examples per step (default: 512, images 128)")  # fmt: skip
    add("--n-estimators", type=whole(1), metavar="K", default=1,
        help="networks to train, which become one (default: 1)")  # fmt: skip
    add("--label-smoothing", type=number(0.0, 1.0, or_equal=True), metavar="E",
        help="share of each label spread over all (default: 0.1 for tables, else 0)")  # fmt: skip
    add("--activation", type=choice(ACTIVATIONS), choices=ACTIVATIONS, metavar="NAME",
        help=f"{', '.join(ACTIVATIONS)} (default: {ACTIVATIONS[0]}, of images silu)")  # fmt: skip
    add("--optimizer", type=choice(OPTIMIZERS), choices=OPTIMIZERS, metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: {OPTIMIZERS[0]})")  # fmt: skip
    add("--metric", type=choice(METRICS), choices=METRICS, metavar="NAME",
        help=f"output metric, {', '.join(METRICS)} (default: the optimiser's)")  # fmt: skip


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("output").add_argument
    completes(add("--out", metavar="RUN",
        help="folder for the model, the ledger and the settings"), FOLDERS)  # fmt: skip
    completes(add("--resume", metavar="RUN",
        help="in place of DATA: go on with a run as if it had not been stopped"),
        FOLDERS)  # fmt: skip
    add("--checkpoint-seconds", type=number(0.0), metavar="T", default=30.0,
        help="most seconds of work to lose, with --out or --resume (default: 30)")  # fmt: skip
    completes(add("--tensorboard", metavar="DIR", nargs="?", const="",
        help="events for TensorBoard (default: RUN/tensorboard, else runs/DATA-TIME)"),
        FOLDERS)  # fmt: skip
    add("--overwrite", action="store_true", help="replace the run that --out holds")
    add("--json", action="store_true",
        help="one JSON object on standard output, everything else on standard error")  # fmt: skip
    add("--quiet", action="store_true", help="only the summary")
    add_debug_option(add)
