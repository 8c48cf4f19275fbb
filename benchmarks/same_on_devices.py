"""Whether eight devices grow the network that one grows: decisions, and how far parameters are.

Both take the same steps from the same start, on simulated devices, with growth. As a yardstick one
device goes once more from a start that differs in the last place of every number. In float64, where
rounding is out of the way, and in float32, as users train.
"""

from itertools import product

import harness

DEVICES = 8
SIMULATED = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
PRECISIONS = {"float64": {"JAX_ENABLE_X64": "1"}, "float32": {}}
OPTIMIZERS = ("kfac", "natural_gradient", "adam")
TASKS = {
    "digits": {"data": "digits", "rows": 1797, "first": 4, "steps": 200},
    "mnist": {"data": "mnist", "rows": 10_000, "first": 10, "steps": 200},
}
QUICK = {"digits": {"data": "digits", "rows": 500, "first": 4, "steps": 20}}


def main() -> None:
    """Train, compare, print and write."""
    given = harness.arguments(__doc__)
    report = harness.Report("same_on_devices", given, devices=f"{DEVICES} simulated")
    rows = []
    tasks = (QUICK if given.quick else TASKS).items()
    optimizers = OPTIMIZERS[:1] if given.quick else OPTIMIZERS
    for (precision, env), (name, task), how in product(PRECISIONS.items(), tasks, optimizers):
        found, _ = harness.fresh(
            compare, env=SIMULATED | env, optimizer=how, folder=given.data_dir, **task
        )
        rows.append({"precision": precision, "task": name, "optimizer": how, **found})
        harness.table(f"{name}, {how}, {precision}", rows[-1:])
    report.finish(tasks=QUICK if given.quick else TASKS, table=rows)


def compare(optimizer: str, data: str, folder: str | None, **task: int) -> dict:
    """One run on one device, one on several, and one from a start beside it."""
    from senn.devices import mesh_of

    parts = harness.split_data(data, folder)[:2]
    train, validation = parts[0], parts[1]
    train = tuple(part[: task["rows"]] for part in train)
    given = {"optimizer": optimizer, "train": train, "validation": validation, **task}
    one, other = run(None, **given), run(mesh_of(DEVICES), **given)
    beside = run(None, jitter=True, **given)
    return {
        "units": sum(one[0].hidden_sizes),
        "decisions": len(one[1]),
        "same": one[1] == other[1],
        "same from beside": one[1] == beside[1],
        "relative": far(one[0], other[0]),
        "relative from beside": far(one[0], beside[0]),
    }


def run(mesh, optimizer, train, validation, first, steps, *, jitter=False, **_):
    """A network, and all that growth decided on the way."""
    import jax
    import numpy as np

    import senn

    network = senn.nn.MLP(
        train[0].shape[1], int(np.max(train[1])) + 1, (first,), key=jax.random.key(0)
    )
    if jitter:
        network = jax.tree.map(
            lambda v: v * (1 + np.finfo(v.dtype).eps) if v.dtype.kind == "f" else v, network
        )
    network, history = senn.fit(
        network, train, validation=validation, optimizer=optimizer, mesh=mesh,
        policy=senn.Policy(max_units=40),
        schedule=senn.Schedule(max_steps=steps, anneal_epochs=None, stop_after=steps),
    )  # fmt: skip
    decided = [*history.considerations, *history.additions, *history.removals]
    return network, [(r.step, r.place, r.units, getattr(r, "accepted", None)) for r in decided]


def far(one, other) -> float | None:
    """The norm of the difference of all parameters over that of their own, if they fit."""
    import jax
    import numpy as np

    if one.hidden_sizes != other.hidden_sizes:
        return None
    first, second = (
        np.concatenate([np.ravel(v) for v in jax.tree.leaves(net) if v.dtype.kind == "f"])
        for net in (one, other)
    )
    return float(np.linalg.norm(first - second) / np.linalg.norm(first))


if __name__ == "__main__":
    main()
