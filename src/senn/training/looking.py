"""What growth and removal look at: the moments of fresh samples, and rows to compare losses on."""

import numpy as np

from senn import growth
from senn.batches import Batch
from senn.evaluation import ROWS_AT_ONCE
from senn.growth import Seen
from senn.nn.tapped import AbstractTapped
from senn.training.run import Run

JUDGED_ROWS = ROWS_AT_ONCE  # on which the loss before and after a change is compared


def look(run: Run, network: AbstractTapped | None = None) -> tuple[Seen, Batch]:
    """The moments of the running mean, or of a smaller network, and rows to compare losses on.

    At the mean: single steps stray from where the loss is low, and there any unit helps.
    """
    train, network = run.now.train, network or run.now.train.average
    known = _of_one_shape(network, train.network)  # else S is of other maps
    fit_sample, held_out = run.source.two_samples(run.schedule.sample_size, run.now.rng)
    seen = growth.look(
        network, run.loss, run.score_metric, fit_sample, held_out, run.draw_key(),
        output_factors(run) if known else None, run.optimizer.input_factor(train.optimizer),
    )  # fmt: skip
    return seen, _first_rows(held_out, JUDGED_ROWS)  # of the samples no more: they take memory


def _of_one_shape(network: AbstractTapped, other: AbstractTapped) -> bool:
    return network.graph == other.graph and network.capacities == other.capacities


def output_factors(run: Run, *, stepped: bool | None = None):
    """S as the optimiser knows it, if that is in the metric of the score."""
    if run.metric != run.score_metric:
        return None
    return run.optimizer.output_factors(run.now.train.optimizer, stepped=stepped)


def _first_rows(batch: Batch, n: int) -> Batch:
    # On the host, which compiles nothing; copies, for a view would keep all of it.
    return Batch(*(np.asarray(part)[:n].copy() for part in batch))  # pyright: ignore[reportArgumentType]
