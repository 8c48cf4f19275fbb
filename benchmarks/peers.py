"""A peer that grows networks too: gromo, with PyTorch on the processor, on MNIST.

An optional extra: `pip install torch gromo`, here or in another environment whose Python is
given by `--python`; without them it says so and ends. gromo follows its own tutorial ("Growing
container", `examples/plot_growing_container_tutorial.py`): epochs of training and growth steps in
turn, each growth step with statistics over all the training rows, `compute_optimal_updates`, a
line search over the scales 0, 0.1, 0.5, 1 by the training loss, and `apply_change`. As there,
batches have 1,000 rows, and 3 epochs go before each of 4 growth steps. Ours are: one hidden layer
that starts with 10 units and gains 10 a step, as MNIST's are wanted; cross-entropy in place of the
squared error; training after the last growth. It is trained twice over: with the tutorial's SGD,
rate 0.01, for 3 more epochs, and, to give it a good optimiser, with Adam, rate 0.001, for 20.

SENN's figures are those of `senn train mnist --max-units 50` with a warm compilation cache. All
seconds leave out the start of the process and reading the data.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import harness

FIRST, GAINED, GROWTHS, EPOCHS_BETWEEN = 10, 10, 4, 3
BATCH = 1000
SCALES = (0.0, 0.1, 0.5, 1.0)
PROTOCOLS = {"tutorial": ("SGD", 0.01, 3), "with Adam": ("Adam", 0.001, 20)}


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, extra=add_options)
    check = [given.python, "-c", "import gromo.containers.growing_mlp, torch"]
    try:
        harness.run_process(check)
    except RuntimeError:
        print("peers: left out, for gromo and PyTorch are not installed (pip install torch gromo)")
        return
    data, growths = ("digits", 1) if given.quick else ("mnist", GROWTHS)
    units = FIRST + GAINED * growths
    report = harness.Report("peers", given, task=f"{data}, {FIRST} to {units} units")
    runs = []
    with tempfile.TemporaryDirectory() as folder, harness.empty_cache() as cache:
        file = str(Path(folder) / "data.npz")
        harness.fresh(save_arrays, data=data, folder=given.data_dir, file=file)
        where = ["--data-dir", given.data_dir] if given.data_dir and not given.quick else []
        command = [harness.SENN, "train", data, *where, "--max-units", str(units), "--json",
                   "--quiet", "--hidden-sizes", str(FIRST)]  # fmt: skip
        if given.quick:
            command += ["--max-iter", "10"]
        harness.run_process(command, cache)  # fills the compilation cache
        for seed in range(given.repeats):
            run = {"senn": senn_run(command, cache, seed)}
            for name, (rule, rate, after) in PROTOCOLS.items():
                run[f"gromo, {name}"], _ = harness.fresh(
                    grow_with_gromo, python=given.python, file=file, rule=rule, rate=rate,
                    epochs_after=1 if given.quick else after, growths=growths, seed=seed,
                    classes=10,
                )  # fmt: skip
            runs.append(run)
            print(f"seed {seed}:", {k: (round(v["test_score"], 4), round(v["seconds"], 1))
                                    for k, v in run.items()}, flush=True)  # fmt: skip
    rows = [row(name, [run[name] for run in runs]) for name in runs[0]]
    harness.table(f"medians of {given.repeats}", rows)
    ratios = {r["who"]: r["seconds"] / rows[0]["seconds"] for r in rows}
    print("  seconds over senn's:", ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    report.finish(runs=runs, table=rows, ratios_to_senn=ratios)


def add_options(parser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument(
        "--python", default=sys.executable, help="a Python that has torch and gromo"
    )


def senn_run(command: list[str], cache: dict, seed: int) -> dict:
    """Our run, from the command's own report."""
    told = json.loads(harness.run_process([*command, "--seed", str(seed)], cache).output)
    return {k: told[k] for k in ("test_score", "seconds", "hidden_sizes", "n_parameters")}


def save_arrays(data: str, folder: str | None, file: str) -> None:
    """The data set as arrays that a Python without senn can read."""
    import numpy as np

    train, validation, test = harness.split_data(data, folder)
    x, y = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    np.savez(file, x=x, y=y.astype(np.int64), x_test=test[0], y_test=test[1])


def grow_with_gromo(
    file: str, rule: str, rate: float, epochs_after: int, growths: int, seed: int, classes: int
) -> dict:
    """Train and grow as in the tutorial; runs where senn may be missing."""
    import numpy as np
    import torch
    from gromo.containers.growing_mlp import GrowingMLP

    arrays = np.load(file)
    x, y, x_test, y_test = (torch.from_numpy(arrays[k]) for k in ("x", "y", "x_test", "y_test"))
    torch.manual_seed(seed)
    model = GrowingMLP(x.shape[1], classes, FIRST, 1, device=torch.device("cpu"))
    optimizer = getattr(torch.optim, rule)

    def everything() -> float:
        growing = 0.0
        for _ in range(growths):
            for _ in range(EPOCHS_BETWEEN):
                gromo_epoch(model, optimizer, rate, x, y)
            growing += harness.timed(lambda: gromo_growth(model, x, y))[1]
        for _ in range(epochs_after):
            gromo_epoch(model, optimizer, rate, x, y)
        return growing

    growing, seconds = harness.timed(everything)
    model.eval()
    with torch.no_grad():
        right = (model(x_test).argmax(1) == y_test).float().mean().item()
    return {
        "test_score": right, "seconds": seconds, "growth_seconds": growing,
        "hidden_sizes": [model.layers[0].out_features],
        "n_parameters": model.number_of_parameters(), "threads": torch.get_num_threads(),
    }  # fmt: skip


def gromo_epoch(model, optimizer, rate: float, x, y) -> None:
    """One pass over the rows, with an optimiser of its own as in the tutorial."""
    import torch

    model.train()
    steps = optimizer(model.parameters(), lr=rate)
    for inputs, targets in shuffled(x, y):
        steps.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        steps.step()


def gromo_growth(model, x, y) -> None:
    """One growth step: statistics, the new units, their scale by the training loss."""
    import torch

    criterion = torch.nn.CrossEntropyLoss(reduction="sum")  # gromo does the averaging
    model.eval()
    model.init_computation()
    for inputs, targets in shuffled(x, y):
        model.zero_grad()
        criterion(model(inputs), targets).backward()
        model.update_computation()
    model.compute_optimal_updates(maximum_added_neurons=GAINED)
    model.reset_computation()
    model.dummy_select_update()
    losses = {}
    for scale in SCALES:
        model.set_scaling_factor(scale)
        with torch.no_grad():
            losses[scale] = sum(
                criterion(model.extended_forward(a), b).item() for a, b in shuffled(x, y)
            )
    model.set_scaling_factor(min(losses, key=losses.__getitem__))
    model.apply_change()


def shuffled(x, y):
    """Batches in a new order."""
    import torch

    for rows in torch.randperm(len(x)).split(BATCH):
        yield x[rows], y[rows]


def row(name: str, found: list[dict]) -> dict:
    """One line of the table."""
    return {
        "who": name,
        "sizes": found[0]["hidden_sizes"],
        "parameters": found[0]["n_parameters"],
        "mean test accuracy": statistics.mean(f["test_score"] for f in found),
        "seconds": statistics.median(f["seconds"] for f in found),
    }


if __name__ == "__main__":
    main()
