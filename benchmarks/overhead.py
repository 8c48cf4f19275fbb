"""What growing costs beside training: a grown run against one of the final size from the start.

Every repetition has a seed of its own, for how far a run grows, and how long it looks, depends on
it. Both take the same number of steps on the same rows by the same optimiser, with the learning
rate annealed over the same steps, with the same evaluations, and with slots for as many units;
the second may not grow (`Policy(width=False, depth=False)`). Each runs in a fresh process, first
with an empty compilation cache (cold), then again (warm). The seconds are those of `senn.fit`,
compilation included; Python's start, imports and reading the data would only dilute the ratio.
"""

import statistics

import harness

QUICK = {"anneal_epochs": 5, "anneal_steps": 60}  # of the schedule; else its defaults


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__)
    task = {"data": "mnist", "max_units": 50, "first": 10, "anneal": {}}
    if given.quick:
        task = {"data": "digits", "max_units": 12, "first": 4, "anneal": QUICK}
    task["folder"] = given.data_dir
    report = harness.Report(
        "overhead", given, task=f"{task['data']}, {task['first']} to {task['max_units']} units"
    )
    runs = [one_round({**task, "seed": seed}) for seed in range(given.repeats)]
    rows = [
        {
            "cache": cache,
            "steps": middle(runs, cache, "grown", "steps"),
            "grown": middle(runs, cache, "grown", "seconds"),
            "of it growth": middle(runs, cache, "grown", "growth_seconds"),
            "compilation": middle(runs, cache, "grown", "compile_seconds"),
            "fixed": middle(runs, cache, "fixed", "seconds"),
            "its compilation": middle(runs, cache, "fixed", "compile_seconds"),
            "ratio": statistics.median(run[cache]["ratio"] for run in runs),
        }
        for cache in ("cold", "warm")
    ]
    harness.table("median seconds of fit", rows)
    harness.table("each seed", [one_line(run) for run in runs])
    for name in ("grown", "fixed"):
        accuracy = statistics.mean(run["cold"][name]["test_score"] for run in runs)
        print(f"  {name}: mean test accuracy {accuracy:.4f}")
    report.finish(task=task, runs=runs, table=rows)


def middle(runs: list[dict], cache: str, name: str, what: str) -> float:
    """The median over the repetitions."""
    return statistics.median(run[cache][name][what] for run in runs)


def one_line(run: dict) -> dict:
    """What became of one seed."""
    grown = run["cold"]["grown"]
    said = {key: grown[key] for key in ("hidden_sizes", "steps", "n_additions", "test_score")}
    return {**said, **{cache: run[cache]["ratio"] for cache in ("cold", "warm")}}


def one_round(task: dict) -> dict:
    """Grown and fixed, cold and then warm, in turn."""
    result = {}
    with harness.empty_cache() as for_grown, harness.empty_cache() as for_fixed:
        for cache in ("cold", "warm"):
            grown, _ = harness.fresh(grow, env=for_grown, **task)
            fixed, _ = harness.fresh(
                stay, env=for_fixed, data=task["data"], folder=task["folder"],
                max_units=task["max_units"], seed=task["seed"],
                **{key: grown[key] for key in ("hidden_sizes", "steps", "annealed_from")},
            )  # fmt: skip
            ratio = grown["seconds"] / fixed["seconds"]
            result[cache] = {"grown": grown, "fixed": fixed, "ratio": ratio}
            print(f"{cache}: grown {grown['seconds']:.2f} s, fixed {fixed['seconds']:.2f} s, "
                  f"ratio {ratio:.2f}, {grown['steps']} steps", flush=True)  # fmt: skip
    return result


def grow(
    data: str, folder: str | None, first: int, max_units: int, anneal: dict, seed: int
) -> dict:
    """A run that starts small and grows by all the defaults."""
    import senn

    schedule = senn.Schedule(**anneal)
    policy = senn.Policy(max_units=max_units)
    result = run(data, folder, (first,), max_units, policy, schedule, "kfac", seed)
    # Where the rate began to fall: the schedule's own arithmetic, backwards from the end.
    per_epoch = -(-result["rows"] // schedule.batch_size)
    annealed = schedule.annealing_steps(per_epoch, None)
    return {**result, "annealed_from": max(result["steps"] - annealed, 0)}


def stay(
    data: str,
    folder: str | None,
    hidden_sizes: list[int],
    max_units: int,
    steps: int,
    annealed_from: int,
    seed: int,
) -> dict:
    """A run of the same length that has that size from the start, and keeps it."""
    import jax.numpy as jnp

    import senn

    class Annealed(senn.optimizers.KFAC):
        """K-FAC that lets its rate fall from one step to another, as the grown run's did.

        A `Schedule` anneals from the first step if nothing may grow; hence here.
        """

        first: int = 0
        last: int = 1

        def step(self, network, state, loss, metric, batch, scale):
            done = jnp.clip((state.age - self.first) / (self.last - self.first), 0, 1)
            rate = scale * 0.5 * (1 + jnp.cos(jnp.pi * done))
            return super().step(network, state, loss, metric, batch, rate.astype(scale.dtype))

    result = run(
        data, folder, hidden_sizes, max_units,
        senn.Policy(width=False, depth=False),
        senn.Schedule(max_steps=steps, anneal_epochs=None, stop_after=steps),
        Annealed(first=annealed_from, last=steps),
        seed,
    )  # fmt: skip
    assert result["steps"] == steps, result
    return result


def run(data, folder, sizes, max_units, policy, schedule, optimizer, seed) -> dict:
    """One call of `senn.fit`, and what it reports."""
    import jax
    import numpy as np

    import senn

    train, validation, (x_test, y_test) = harness.split_data(data, folder, seed)
    classes = int(np.max(train[1])) + 1
    network = senn.nn.MLP(
        train[0].shape[1], classes, sizes, key=jax.random.key(seed), capacity=max_units
    )
    (network, history), seconds = harness.timed(
        lambda: senn.fit(
            network, train, validation=validation, optimizer=optimizer, policy=policy,
            schedule=schedule, seed=seed,
        )
    )  # fmt: skip
    right = np.asarray(network(x_test)).argmax(1) == y_test
    kept = ("training_seconds", "growth_seconds", "compile_seconds", "n_compilations", "steps",
            "stop_reason")  # fmt: skip
    return {
        "seconds": seconds,
        **{key: getattr(history, key) for key in kept},
        "hidden_sizes": list(network.hidden_sizes),
        "n_additions": len(history.additions),
        "test_score": float(right.mean()),
        "rows": len(train[0]),
    }


if __name__ == "__main__":
    main()
