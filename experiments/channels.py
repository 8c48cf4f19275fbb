"""What growing channels is worth: networks of as many channels, made otherwise, at equal steps.

    python experiments/channels.py --data-dir FOLDER

`SENNClassifier(network="conv")` grows on MNIST. Then, with as many steps, and with channels that
come when they came to it: random filters at the same places in place of those that the search
found; random filters shared out evenly among the stages; and all channels from the start. Scores
are those of the test images, on which nothing is chosen, seconds those of the process.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from senn import SENNClassifier, datasets, imaging
from senn.proposals import Random
from senn.studies.ablation import replayed
from senn.studies.intervals import standard_error
from senn.studies.replay import evenly, plan_of

START = (8, 8, 8)
DRAWN = Random(candidates=1)
POLICY = replace(imaging.POLICY, prefer="grown")  # all keep as many as they came to


def main() -> None:
    """Train, a line for each network, and then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--data", default="mnist", choices=("mnist", "digits"))
    add("--data-dir", type=Path)
    add("--seeds", type=int, default=3)
    add("--passes", type=int, default=4, help="over the images (default: 4)")
    add("--max-parameters", type=int, default=10_000)
    add("--out", type=Path, help="a file of JSON for the lines")
    given = parser.parse_args()
    data = datasets.load(given.data, data_dir=given.data_dir)
    lines = []
    for seed in range(given.seeds):
        for line in arms(data, seed, given):
            lines.append(line)
            print(line, flush=True)
            if given.out:
                given.out.write_text(json.dumps(lines, indent=1) + "\n")
    for arm in dict.fromkeys(line["arm"] for line in lines):
        of = [line for line in lines if line["arm"] == arm]
        scores = [line["score"] for line in of]
        error = standard_error(scores)
        seconds = statistics.mean(line["seconds"] for line in of)
        print(f"{arm:28} {statistics.mean(scores):.4f} ± {error:.4f}  {seconds:6.0f} s")


def arms(data: Any, seed: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The grown network of a seed, and then the others."""
    budget = {"max_parameters": given.max_parameters}
    grown, line = trained(data, seed, given, "grown", policy=POLICY, **budget)
    yield line
    history = grown.history_
    plan, end = plan_of(history), history.growth_ended or history.steps
    policy = replace(POLICY, expect="score")

    def by_plan(arm: str, plan: Any, **settings: Any) -> dict[str, Any]:
        rule = replayed(policy, plan, end, None)
        return trained(data, seed, given, arm, policy=rule, proposer=DRAWN, **settings)[1]

    yield by_plan("random filters", plan)
    yield by_plan("random filters, evenly", evenly(plan, START, len(START)))
    yield by_plan("from the start", (), channels=grown.hidden_sizes_)


def trained(
    data: Any, seed: int, given: argparse.Namespace, arm: str, **settings: Any
) -> tuple[SENNClassifier, dict[str, Any]]:
    """A network, and what is told of it."""
    begin = time.monotonic()
    settings = {"channels": START, **settings}
    model = SENNClassifier(
        network="conv", max_iter=given.passes, random_state=seed, **settings
    ).fit(shaped(data, data.x), np.asarray(data.y))
    return model, {
        "seed": seed, "arm": arm, "channels": model.hidden_sizes_,
        "parameters": model.network_.n_parameters, "steps": model.history_.steps,
        "score": float(model.score(shaped(data, data.x_test), data.y_test)),
        "validation_score": model.history_.evaluations[-1].validation_score,
        "seconds": round(time.monotonic() - begin, 1),
    }  # fmt: skip


def shaped(data: Any, x: np.ndarray) -> np.ndarray:
    """Images [N, H, W]."""
    return np.asarray(x).reshape(-1, *data.image_shape)


if __name__ == "__main__":
    main()
