"""Where another channel is worth most: what prices and scores say, and what training on says.

    python experiments/places.py --data-dir FOLDER

Networks of several sizes are trained for a while by K-FAC, on images of which 5,000 are kept apart.
Then eight channels, found by the search, are added at one place or none, and the network is
trained on with the same batches, the rate falling to zero. What a place gains is the loss on the
images kept apart without them less that with them. Beside it stand what a channel there is
expected to be worth by the prices of those that are there (`senn.expectation`), and the score at
birth of those that come, on the images that the search fitted them to and on others. No test
image is looked at.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import senn
from senn import Batch, Policy, Schedule, datasets, growth, imaging
from senn.arrays import key_of
from senn.expectation import typical_worth
from senn.losses import SoftmaxCrossEntropy, make_metric
from senn.optimizers import KFAC
from senn.prices import Prices, factors_of
from senn.proposals.proposal import join
from senn.pruning import everywhere
from senn.studies.intervals import standard_error

STATES = {
    "mnist": ((8, 8, 8), (8, 8, 32), (8, 16, 32)),
    "cifar10": ((8, 8, 8, 8), (8, 16, 32, 32), (16, 32, 48, 64)),
}
APART, LOOKED_AT, BATCH = 5_000, 1_536, 128
NO_GROWTH = Policy(width=False, depth=False, prefer="grown")
TOLD = ("price", "score", "fit_score")


def main() -> None:
    """Train, print a line for each place and repetition, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--data", choices=STATES, default="mnist")
    add("--data-dir", type=Path)
    add("--repeats", type=int, default=3)
    add("--steps", type=int, default=300, help="before (default: 300)")
    add("--more", type=int, default=400, help="after (default: 400)")
    add("--out", type=Path, help="a file of JSON for the lines")
    given = parser.parse_args()
    data = datasets.load(given.data, data_dir=given.data_dir)
    x, y = images(data.x, data.image_shape), np.asarray(data.y)
    lines = []
    for repeat in range(given.repeats):
        order = np.random.default_rng(repeat).permutation(len(x))
        train, apart = ((x[rows], y[rows]) for rows in (order[APART:], order[:APART]))
        for channels in STATES[given.data]:
            for line in at_state(channels, repeat, train, apart, given):
                lines.append(line)
                print(" ".join(f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}"
                               for k, v in line.items()), flush=True)  # fmt: skip
            if given.out:
                given.out.write_text(json.dumps(lines, indent=1) + "\n")
    print(table(lines))


def images(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels [N, H, W, C] of mean 0 and variance 1."""
    x = np.asarray(x, np.float32).reshape(-1, *(shape if len(shape) == 3 else (*shape, 1)))
    return (x - x.mean()) / x.std()


def at_state(channels: tuple[int, ...], seed: int, train, apart, given) -> list[dict]:
    """What is told of every place of one network, and what it gains."""
    shape, classes = train[0].shape[1:], int(train[1].max()) + 1
    network = senn.nn.ConvNet(shape, classes, channels, key=key_of(seed), activation="silu")
    network = fit(network, train, apart, given.steps, seed)[0]
    loss = SoftmaxCrossEntropy()
    fitted, judged = (
        Batch.on_host(train[0][rows], train[1][rows], np.ones(LOOKED_AT, np.float32))
        for rows in (slice(LOOKED_AT), slice(LOOKED_AT, 2 * LOOKED_AT))
    )
    metric = make_metric("fisher", loss)
    seen = growth.look(network, loss, metric, fitted, judged, key_of(seed))
    maps = [seen.fit.maps, seen.held_out.maps]
    going = everywhere(Prices.of(network, factors_of(network, maps)))
    without = fit(network, train, apart, given.more, seed, annealed=True)[1]
    lines = []
    for action in imaging.POLICY.actions(network):
        found = growth.propose_at(
            network, seen, imaging.PROPOSER, imaging.POLICY, action, key_of(seed)
        )
        grown, _ = growth.add(network, None, join(found), imaging.POLICY)
        having = fit(grown, train, apart, given.more, seed, annealed=True)[1]
        lines.append({
            "repeat": seed, "channels": channels, "place": str(action),
            "gain": without - having, "without": without,
            "price": typical_worth(going, action.position) or 0.0,
            "score": sum(p.score for p in found), "fit_score": sum(p.fit_score for p in found),
        })  # fmt: skip
    return lines


def fit(network, train, apart, steps: int, seed: int, *, annealed: bool = False):
    """The network after so many steps, and its loss on the images kept apart."""
    schedule = Schedule(
        max_steps=steps, batch_size=BATCH, evaluate_every=steps,
        anneal_epochs=0 if annealed else None, anneal_steps=steps if annealed else 1,
    )  # fmt: skip
    network, history = senn.fit(
        network, train, validation=apart, policy=NO_GROWTH, optimizer=KFAC(), schedule=schedule,
        seed=seed,
    )  # fmt: skip
    loss = history.evaluations[-1].validation_loss
    assert loss is not None
    return network, loss


def table(lines: Sequence[dict]) -> str:
    """Means over the repetitions, and how often what is told ranks places as gains do."""
    rows = []
    for channels, place in dict.fromkeys((line["channels"], line["place"]) for line in lines):
        of = [line for line in lines if (line["channels"], line["place"]) == (channels, place)]
        gains = [line["gain"] for line in of]
        told = "  ".join(f"{statistics.mean(line[name] for line in of):9.4f}" for name in TOLD)
        gain = f"{statistics.mean(gains):8.4f} ± {standard_error(gains):.4f}"
        rows.append(f"{'-'.join(map(str, channels)):12} {place}  {gain}  {told}")
    head = f"{'channels':12} {'place':8}{'gain':>8}{'':10}" + "".join(f"{n:>11}" for n in TOLD)
    return "\n".join([head, *rows, *(agreement(lines, name) for name in TOLD)])


def agreement(lines: Sequence[dict], name: str) -> str:
    """Spearman's correlation over the places of a network, its mean over all of them."""
    found = []
    for at in dict.fromkeys((line["repeat"], line["channels"]) for line in lines):
        of = [line for line in lines if (line["repeat"], line["channels"]) == at]
        ranked: Any = stats.spearmanr([e["gain"] for e in of], [e[name] for e in of])
        found.append(ranked.statistic)
    mean, error = statistics.mean(found), standard_error(found)
    return f"rank correlation of gains with {name}: {mean:.2f} ± {error:.2f}"


if __name__ == "__main__":
    main()
