"""How seconds per step and per growth event grow with width, depth, inputs and batch.

One training step is a K-FAC step, `senn.training.train_large_chunk`'s, on random data; one growth
event is what `senn.fit` does when it considers new units: `senn.growth.look` on a fitting and a
held-out sample, `propose_all` for every hidden layer, the policy's decision, and `add`. (These
are functions of modules, for one piece of a run; all else is public.) Compilation is apart.

Everything is measured once with one XLA thread and once with all cores, each in a process of
its own, beside the rate of a float32 matrix product in the same process. The step's share of
that rate counts its matrix products alone, 2·a·b·c operations for [a, b] @ [b, c]. With N rows,
and for every linear map with I inputs and O outputs:

    forward and gradient of the weights   2 · 2 N I O
    backward to its inputs                2 · 2 N I O, loss and metric draws; not for the first map
    S = sᵀs                               2 N O²
    A = aᵀa, hidden inputs only           2 N (I + 1)²
    preconditioning, hidden inputs        2 (I + 1)² O + 2 (I + 1) O²
    preconditioning, network's inputs     2 · 2 (I + 1) k O + 2 (I + 1) O², k eigenvectors kept
    inverses, every fifth step            (2 n³ for each n × n matrix) / 5

Also: the peak memory of `senn.SENNRegressor` on a million rows of 100 float32 numbers, and
where a second thread begins to pay.
"""

import os
from itertools import pairwise

import harness

INPUTS, OUTPUTS, WIDTH, ROWS = 784, 10, 64, 512
SAMPLE = 8192  # rows on which units are fitted, and as many on which they are judged
STEPS = 10  # in one compiled call
REFRESH = 5  # K-FAC's steps between inversions
COLUMNS = ("width", "depth", "inputs", "rows")


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, extra=add_options)
    report = harness.Report(
        "scaling", given, time=f"medians of {max(given.repeats, 3)}, compilation not counted"
    )
    cores = len(os.sched_getaffinity(0))
    found = {}
    with harness.empty_cache() as cache:  # the second process compiles little
        for name, threads in (("one thread", 1), (f"{cores} cores", cores)):
            found[name], _ = harness.fresh(
                measure_all, env={**cache, harness.THREADS: str(threads)}, quick=given.quick,
                repeats=max(given.repeats, 3),
            )  # fmt: skip
            rate = found[name]["gflops"]
            harness.table(f"{name}; matrix product {rate:.0f} GFLOP/s", found[name]["rows"])
    one, many = found.values()
    speedup = compare(one["rows"], many["rows"])
    harness.table(f"one thread's seconds over those of {cores} cores", speedup)
    crossover = first_that_pays(speedup)
    print(f"  {crossover}")
    memory = peak_memory(given.quick, given.memory_seconds)
    print(f"  peak memory on {memory['rows']:,} × {memory['inputs']} float32: "
          f"{memory['peak_mb']:.0f} MB ({memory['data_mb']:.0f} MB of it the rows), "
          f"{memory['steps']} steps, sizes {memory['hidden_sizes']}")  # fmt: skip
    report.finish(threads=found, speedup=speedup, crossover=crossover, memory=memory)


def add_options(parser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument(
        "--memory-seconds", type=float, default=30.0, help="of training on a million rows"
    )


def shapes(quick: bool) -> list[dict]:
    """What is measured; one thing grows at a time."""
    base = {"width": WIDTH, "depth": 1, "inputs": INPUTS, "rows": ROWS}
    grown = {
        "width": (32, 64, 128, 256, 512, 1024),
        "depth": (2, 4, 6),
        "inputs": (64, 256, 1024, 4096),
        "rows": (128, 2048, 8192),
    }
    if quick:
        base["inputs"] = 64
        grown = {"width": (32, 128)}
    return [{**base, key: value} for key, values in grown.items() for value in values]


def measure_all(quick: bool, repeats: int) -> dict:
    """All shapes in this process, with the threads that it was started with."""
    gflops = matrix_rate(1024 if quick else 2048, repeats)
    rows = []
    for shape in shapes(quick):
        step, event = measure(shape, repeats, 512 if quick else SAMPLE)
        rate = step_flops(shape) / step / 1e9
        rows.append({**shape, "ms a step": 1000 * step, "GFLOP/s": rate,
                     "share of the rate": rate / gflops, "seconds an event": event})  # fmt: skip
        print(rows[-1], flush=True)
    return {"gflops": gflops, "rows": rows}


def matrix_rate(n: int, repeats: int) -> float:
    """GFLOP/s of a float32 product of two n × n matrices."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((n, n), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    return 2 * n**3 / harness.median_seconds(
        lambda: jax.block_until_ready(product(a)), max(repeats, 5)
    ) / 1e9  # fmt: skip


def measure(shape: dict, repeats: int, sample: int) -> tuple[float, float]:
    """Seconds of a training step, and of a growth event."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import senn
    from senn.batches import InputMoment
    from senn.growth import add, look, propose_all
    from senn.losses import make_loss, make_metric
    from senn.training import TrainState, train_large_chunk

    draw = np.random.default_rng(0)
    n = max(2 * sample, shape["rows"])
    x = draw.normal(size=(n, shape["inputs"])).astype(np.float32)
    y = np.argmax(np.tanh(x[:, :OUTPUTS]) + x[:, OUTPUTS : 2 * OUTPUTS] ** 2, 1)
    batch = senn.Batch.of(x, y.astype(np.int32))
    sizes = (shape["width"],) * shape["depth"]
    network = senn.nn.MLP(
        shape["inputs"], OUTPUTS, sizes, key=jax.random.key(0), capacity=shape["width"]
    )
    rule, loss = senn.optimizers.KFAC(), make_loss("softmax_cross_entropy")
    moment = InputMoment(0.0, 0).with_more(batch)  # pyright: ignore[reportArgumentType]
    state = TrainState.of(network, rule)
    state = state._replace(optimizer=rule.observe(state.optimizer, moment))
    order = np.resize(draw.permutation(n), (STEPS, shape["rows"]))
    settings = (rule, loss, make_metric("fisher", loss), batch, jnp.asarray(order, jnp.int32))

    def steps():
        rates = jnp.ones(STEPS)
        return jax.block_until_ready(train_large_chunk(state, *settings, rates, jnp.asarray(STEPS)))

    step = harness.median_seconds(steps, repeats) / STEPS
    state, policy = steps()[0], senn.Policy()
    metric = make_metric("fisher", loss)
    places = [p for p in policy.actions(network) if not p.inserts]

    def event():
        seen = look(
            state.network, loss, metric, batch[:sample], batch[-sample:], jax.random.key(1), None,
            rule.input_factor(state.optimizer),
        )  # fmt: skip
        proposals = propose_all(
            state.network, seen, senn.proposals.Projection(), policy, places, jax.random.key(2)
        )
        policy.decide(proposals, state.network)
        best = max((p[0] for p in proposals), key=policy.worth)
        return jax.block_until_ready(add(state.network, state.optimizer, best, policy))

    return step, harness.median_seconds(event, repeats)


def step_flops(shape: dict) -> float:
    """Operations of the matrix products of one step, as the head of this file counts them."""
    N, kept = shape["rows"], vectors_kept(shape["inputs"] + 1)
    sizes = [shape["inputs"], *[shape["width"]] * shape["depth"], OUTPUTS]
    total = 0.0
    for m, (inputs, outputs) in enumerate(pairwise(sizes)):
        J = inputs + 1
        total += 4 * N * inputs * outputs + 2 * N * outputs**2
        total += 2 * J * outputs**2 + 2 * outputs**3 / REFRESH
        if m:
            total += 4 * N * inputs * outputs + 2 * N * J**2
            total += 2 * J**2 * outputs + 2 * J**3 / REFRESH
        else:
            total += 4 * J * kept * outputs
    return total


def vectors_kept(J: int) -> int:
    """Eigenvectors that K-FAC keeps of the second moment of J inputs."""
    from senn.factors import rank

    return rank(J)


def compare(one: list[dict], many: list[dict]) -> list[dict]:
    """What all cores gain, shape by shape."""
    return [
        {**{c: a[c] for c in COLUMNS}, "a step": a["ms a step"] / b["ms a step"],
         "an event": a["seconds an event"] / b["seconds an event"]}
        for a, b in zip(one, many, strict=True)
    ]  # fmt: skip


def first_that_pays(speedup: list[dict]) -> str:
    """From which width on all cores are faster than one."""
    by_width = [
        row for row in speedup
        if row["depth"] == 1 and row["rows"] == ROWS and row["inputs"] == speedup[0]["inputs"]
    ]  # fmt: skip
    slower = [row["width"] for row in by_width if row["a step"] <= 1]
    faster = [row["width"] for row in by_width if row["width"] > max(slower, default=0)]
    if not faster:
        return "one thread is at least as fast at every width measured"
    if not slower:
        return "all cores are faster at every width measured"
    return f"one thread is at least as fast up to width {max(slower)}, slower from {min(faster)} on"


def peak_memory(quick: bool, seconds: float) -> dict:
    """The most memory of a process that trains on many rows."""
    rows, inputs = (20_000, 20) if quick else (1_000_000, 100)
    told, done = harness.fresh(
        train_many, rows=rows, inputs=inputs, seconds=min(seconds, 3.0) if quick else seconds
    )
    return {"rows": rows, "inputs": inputs, "data_mb": rows * inputs * 4 / 2**20,
            "peak_mb": done.peak_mb, "process_seconds": done.seconds, **told}  # fmt: skip


def train_many(rows: int, inputs: int, seconds: float) -> dict:
    """Fit the regressor to random rows for so many seconds."""
    import numpy as np

    from senn import SENNRegressor

    draw = np.random.default_rng(0)
    x = draw.standard_normal((rows, inputs), np.float32)
    y = np.sin(x[:, 0] * x[:, 1]) + x[:, 2]
    model = SENNRegressor(max_seconds=seconds, random_state=0).fit(x, y)
    return {"steps": model.history_.steps, "hidden_sizes": list(model.hidden_sizes_),
            "stop_reason": model.history_.stop_reason}  # fmt: skip


if __name__ == "__main__":
    main()
