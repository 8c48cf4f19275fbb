"""The work that each of several devices does, beside its share of what one would do alone.

Operations are those that XLA counts in the compiled programs (`cost_analysis`, of one device's
program), bytes those of the collectives in their text; nothing is run, so simulated devices do. A
step is one of the optimiser on a batch; a look is all that growth computes to judge the units of
one place: moments of both samples, residual gradients, the search, the choice. XLA counts what a
loop does once, so rows are as many as make one block a device, and scans are unrolled. It does not
count LAPACK: the operations of Cholesky factors and inverses are added by formula, the same on all
devices.

`plan` says what the counts predict for more devices, where what does not depend on their number
stays as it is, the rest is shared, and the collectives of a step are sent round a ring.

Beside public names this uses functions of modules that users rarely need.
"""

import itertools
import math
import re

import harness

DEVICES = (1, 2, 4, 8)
SIMULATED = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={max(DEVICES)}"}
OPTIMIZERS = ("kfac", "natural_gradient", "adam")
TASKS = {
    "mnist": {"inputs": 784, "outputs": 10, "units": 64, "batch": 512, "rows": 8 * 1025},
    "wide": {"inputs": 784, "outputs": 10, "units": 512, "batch": 4096, "rows": 8 * 1025},
}
QUICK = {"digits": {"inputs": 64, "outputs": 10, "units": 64, "batch": 512, "rows": 8 * 257}}
COLLECTIVE = re.compile(
    r"= (.*?) (?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
SHAPE = re.compile(r"(f64|f32|s32|u32|pred)\[([0-9,]*)\]")
OPERATIONS, BANDWIDTHS = 1e13, (5e10, 4e11)  # a second, of a device: assumed, not measured
LATENCY = 1e-6  # seconds, to the next device of the ring; assumed, too
MORE = (8, 16, 64, 256)
BYTES = {"f64": 8, "f32": 4, "s32": 4, "u32": 4, "pred": 1}


def main() -> None:
    """Count, print and write."""
    given = harness.arguments(__doc__)
    report = harness.Report("devices", given, devices=f"{max(DEVICES)} simulated")
    devices = (1, 8) if given.quick else DEVICES
    rows = []
    for name, task in (QUICK if given.quick else TASKS).items():
        for what in ("kfac", "look") if given.quick else (*OPTIMIZERS, "look"):
            found, _ = harness.fresh(count, env=SIMULATED, what=what, devices=devices, **task)
            rows += [{"task": name, "what": what, **of} for of in found]
            harness.table(f"{name}, {what}", rows[-len(found) :])
    plans = [plan(rows, bandwidth) for bandwidth in BANDWIDTHS]
    for bandwidth, found in zip(BANDWIDTHS, plans, strict=True):
        harness.table(f"share of the ideal speed, {bandwidth / 1e9:g} GB/s", found)
    report.finish(
        tasks=QUICK if given.quick else TASKS, table=rows,
        plan={f"{b / 1e9:g}": found for b, found in zip(BANDWIDTHS, plans, strict=True)},
    )  # fmt: skip


def plan(rows: list[dict], bandwidth: float) -> list[dict]:
    """The speed of many devices over that of one, divided by how many there are."""
    by_task = itertools.groupby(rows, lambda row: (row["task"], row["what"]))
    return [
        {"task": task, "what": what, **_share_of_ideal(list(counts), bandwidth)}
        for (task, what), counts in by_task
    ]


def _share_of_ideal(counts: list[dict], bandwidth: float) -> dict[str, float]:
    one, most = counts[0]["operations"], counts[-1]
    n = most["devices"]
    shared = (one - most["operations"]) * n / (n - 1)

    def seconds(devices: int) -> float:
        computing = (one - shared + shared / devices) / OPERATIONS
        round_the_ring = 2 * (devices - 1) * (most["bytes"] / devices / bandwidth + LATENCY)
        return computing + round_the_ring

    return {str(d): one / OPERATIONS / d / seconds(d) for d in MORE}


def by_formula(inputs: int, outputs: int, units: int, batch: int, devices: int, **_: int) -> float:
    """A step of K-FAC on a perceptron of one hidden layer, as docs/design/scaling.md has it."""
    J, n, m = inputs + 1, units, outputs
    k = J if J <= 513 else 256
    a_row = 4 * (J * n + n * m) + 4 * n * m + 2 * ((n + 1) ** 2 + n**2 + m**2)
    direction = 4 * J * k * n + 2 * J * n**2
    inverses = 7 / 3 * ((n + 1) ** 3 + n**3 + m**3) / 5
    return (a_row * batch + direction) / devices + inverses


def count(what: str, devices: list[int], **task: int) -> list[dict]:
    """The operations of one device, and the bytes that it exchanges, by how many there are."""
    import jax

    from senn.compilation import QUICK as OPTIONS
    from senn.devices import mesh_of, using

    scan = jax.lax.scan
    jax.lax.scan = lambda *args, **kwargs: scan(*args, **{**kwargs, "unroll": True})
    counted = []
    for n in devices:
        with using(mesh_of(n)):
            made = look(**task) if what == "look" else step(what, **task)
            function, given, beside = made
            program = jax.jit(function, compiler_options=OPTIONS).lower(*given).compile()
        operations = program.cost_analysis()["flops"] + beside
        counted.append((n, operations, exchanged(program.as_text())))
    alone = counted[0][1] * counted[0][0]
    return [
        {
            "devices": n,
            "operations": done,
            "by formula": by_formula(devices=n, **task) if what == "kfac" else None,
            "bytes": sent,
            "of its share": done * n / alone,
        }
        for n, done, sent in counted
    ]


def exchanged(text: str) -> int:
    """Bytes of the results of all collectives in a program."""
    shapes = itertools.chain(*(SHAPE.findall(result) for result in COLLECTIVE.findall(text)))
    return sum(BYTES[kind] * math.prod(map(int, filter(None, n.split(",")))) for kind, n in shapes)


def rows_of(n: int, inputs: int, outputs: int):
    """Examples that nobody looks at."""
    import numpy as np

    from senn import devices
    from senn.batches import Batch

    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, inputs)).astype(np.float32)
    return devices.by_rows(Batch.on_host(x, rng.integers(outputs, size=n)))


def step(what: str, inputs: int, outputs: int, units: int, batch: int, **_: int):
    """A step of an optimiser, what it is given, and operations that XLA does not count."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import senn
    from senn import devices
    from senn.losses import SoftmaxCrossEntropy, make_metric
    from senn.optimizers import kfac_factors, make_optimizer

    kfac_factors.ROWS_IN_CACHE = batch  # one block
    network = senn.nn.MLP(inputs, outputs, (units,), key=jax.random.key(0), capacity=units)
    rule, loss = make_optimizer(what), SoftmaxCrossEntropy()
    dynamic, static = eqx.partition((network, rule.init(network)), eqx.is_array)

    def taken(dynamic, batch):
        network, state = eqx.combine(dynamic, static)
        metric = make_metric(rule.metric, loss)
        after = rule.step(network, state, loss, metric, batch, jnp.ones(()))
        return devices.same(eqx.filter(after, eqx.is_array))

    given = jax.tree.map(devices.everywhere, dynamic), rows_of(batch, inputs, outputs)
    sizes = (units, units + 1, outputs) if what == "kfac" else ()
    return taken, given, sum(7 / 3 * n**3 for n in sizes) / (rule.refresh if sizes else 1)


def look(inputs: int, outputs: int, units: int, rows: int, **_: int):
    """All that growth computes for one place, what it is given, and what XLA does not count."""
    import equinox as eqx
    import jax

    import senn
    from senn import devices, growth, searching
    from senn.losses import Fisher, SoftmaxCrossEntropy
    from senn.proposals.base import read_by, search_keys

    network = senn.nn.MLP(inputs, outputs, (units // 2,), key=jax.random.key(0), capacity=units)
    dynamic, static = eqx.partition(network, eqx.is_array)
    loss, kfac = SoftmaxCrossEntropy(), senn.optimizers.KFAC()
    policy, state = senn.Policy(unit_scale=0.3), kfac.init(network)
    factors, of_inputs = kfac.output_factors(state, stepped=True), kfac.input_factor(state)
    action = policy.actions(network)[0]

    def looked(dynamic, factors, of_inputs, fit, held_out, key):
        own = eqx.combine(dynamic, static)
        key, keys = key
        given = own, loss, Fisher(loss)
        seen = growth.Seen(
            *(growth._moments(*given, of, key, factors) for of in (fit, held_out)), of_inputs
        )
        task = growth._task(network, seen, senn.proposals.Projection(), policy, action)
        units, seen_of = searching._search(task.search, task.problem, key)
        samples = read_by(task.problem, seen_of)
        return units, searching._choose(task.search, *samples, task.problem.ridge, keys)

    same = jax.tree.map(
        devices.everywhere,
        (dynamic, factors, of_inputs, search_keys(jax.random.key(0), policy.most_units())),
    )
    samples = (rows_of(rows, inputs, outputs) for _ in range(2))
    width = max(units, growth.SMALL_IN) + 1
    lapack = width**3 / 3 + 2 * width**2 * growth.SMALL_OUT  # of A of the map that reads the units
    return looked, (*same[:3], *samples, same[3]), lapack


if __name__ == "__main__":
    main()
