"""What a user may choose about an experiment."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The options of `senn reproduce`.

    Args:
        out: folder for the figure and its numbers.
        seeds: how many seeds, from 0.
        resume: keep the runs that the record in `out` holds, if they were made alike.
        quick: the smallest form that still shows something; it checks no claim of the paper.
        original: the paper's own setting wherever a faster one stands in by default.
        data_dir: where the files of MNIST are; None looks where `senn.datasets` does.
        optimizer: of the studies beyond the paper; its figures have their own.
        tasks: data sets of those studies; empty is all of them, one in the quick form.
    """

    out: Path = Path("figures")
    seeds: int = 5
    resume: bool = False
    quick: bool = False
    original: bool = False
    data_dir: str | None = None
    optimizer: str = "kfac"
    tasks: tuple[str, ...] = ()


def no_stand_ins(options: Options) -> list[str]:  # noqa: ARG001
    """All is as in the paper, or no experiment of the paper's."""
    return []
