"""How good the units are that a search finds, and how long it takes.

All searches get the same saved state: a network of 10 units after an epoch of MNIST, 8,192 rows
to fit units to and four times as many others to judge them on, as in training. Reported is the
held-out Δη′ of the one unit that each search returns, over several keys.

* Projection, the default;
* GradientAscent, the paper's 300 steps, with as many proposals as fit in the time allowed;
* Langevin, 3,000 steps, as many chains as by default, or fewer steps if time does not allow;
* Random, the best of as many draws as Projection screens, and a single draw: the controls.

The paper runs ascent on 10,000 proposals: its seconds are *extrapolated* from those measured
for a proposal and a step, on the same sample.

Beside public names this uses functions of modules that users rarely need: `senn.growth.look`
and `propose_at`, which are one search as training does it, `senn.factors.InputFactor`, what
K-FAC tells it of the inputs, and `senn.compilation`, whose seconds are not counted.
"""

import harness

PAPER = {"candidates": 10_000, "steps": 300}
PROBED, PROBE_STEPS = 64, 10
LEAST_PROPOSALS, LEAST_STEPS = 8, 100


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, extra=add_options)
    seconds = given.max_seconds or (1.0 if given.quick else 60.0)
    report = harness.Report(
        "search", given,
        time=f"a search may take {seconds:g} s; medians over {given.repeats} keys, "
        "compilation not counted",
    )  # fmt: skip
    state = saved_state(given)
    results = [measure(state, *search, given.repeats) for search in searches(state, seconds)]
    ascent = next(r for r in results if r["search"] == "GradientAscent")
    protocol = (
        ascent["seconds"] / (ascent["candidates"] * ascent["steps"])
        * PAPER["candidates"] * PAPER["steps"]
    )  # fmt: skip
    projection = results[0]
    ratios = {
        "projection_to_paper_protocol": projection["seconds"] / protocol,
        "score_to_best_other": projection["score"] / max(r["score"] for r in results[1:]),
    }
    columns = ("search", "candidates", "steps", "score", "lowest", "highest", "stderr", "fit_score",
               "seconds")  # fmt: skip
    harness.table("held-out Δη′ of the unit found", [{c: r[c] for c in columns} for r in results])
    print(
        f"  the paper's {PAPER['candidates']:,} × {PAPER['steps']} would take {protocol:,.0f} s "
        f"(extrapolated); Projection takes 1/{1 / ratios['projection_to_paper_protocol']:,.0f} of "
        f"it, and scores {ratios['score_to_best_other']:.2f} times the best other search"
    )
    report.finish(
        state=state["told"], results=results, ratios=ratios, paper_seconds_extrapolated=protocol
    )


def add_options(parser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument("--max-seconds", type=float, help="a search may take (default: 60)")


def saved_state(given) -> dict:
    """What one consideration of a run on MNIST looks at, the same every time."""
    import jax

    import senn
    from senn.batches import JUDGED, InputMoment
    from senn.factors import InputFactor
    from senn.growth import look
    from senn.losses import make_loss, make_metric

    data, units, rows = ("digits", 4, 512) if given.quick else ("mnist", 10, 8192)
    (x, y), _, _ = harness.split_data(data, given.data_dir)
    steps = max(len(x) // 512, 10)
    network, history = senn.fit(
        senn.nn.MLP(x.shape[1], 10, (units,), key=jax.random.key(0)),
        (x, y),
        policy=senn.Policy(width=False, depth=False),
        schedule=senn.Schedule(max_steps=steps, anneal_epochs=None),
    )
    batch = senn.Batch.of(x, y)
    # Known to training already; for few inputs the search computes its own.
    moment = InputMoment(0.0, 0).with_more(batch)  # pyright: ignore[reportArgumentType]
    inputs = InputFactor.of(moment, batch.x.dtype)
    loss, policy = make_loss("softmax_cross_entropy"), senn.Policy(additions_at_once=1)
    others = batch[rows : (1 + JUDGED) * rows]
    seen = look(
        network, loss, make_metric("fisher", loss), batch[:rows], others,
        jax.random.key(0), None, inputs,
    )  # fmt: skip
    told = {"data": data, "steps": steps, "units": units, "rows": rows, "judged_on": len(others.x),
            "training_loss": history.evaluations[-1].loss,
            "limit": float(seen.held_out.limit)}  # fmt: skip
    print("  state:", ", ".join(f"{k} {v}" for k, v in told.items()), flush=True)
    return {"network": network, "seen": seen, "policy": policy, "told": told}


def searches(state: dict, seconds: float) -> list[tuple]:
    """Every search with the settings that the time allows, by a few steps of it timed before."""
    from senn.proposals import GradientAscent, Langevin, Projection, Random

    projection, langevin = Projection(), Langevin()
    a_proposal = probe(state, GradientAscent(PROBED, PROBE_STEPS)) / PROBED
    proposals = min(int(seconds / a_proposal / PAPER["steps"]), PAPER["candidates"])
    proposals = max(proposals, LEAST_PROPOSALS)
    a_step = probe(state, Langevin(langevin.candidates, PROBE_STEPS))
    steps = min(langevin.steps, max(int(seconds / a_step) // 10 * 10, LEAST_STEPS))
    return [
        ("Projection", projection, projection.candidates, projection.steps),
        ("GradientAscent", GradientAscent(proposals, PAPER["steps"]), proposals, PAPER["steps"]),
        ("Langevin", Langevin(langevin.candidates, steps), langevin.candidates, steps),
        ("Random", Random(projection.screened), projection.screened, 0),
        ("Random", Random(1), 1, 0),
    ]


def probe(state: dict, search) -> float:
    """Seconds of one step of a search."""
    look_once(state, search, 0)
    return look_once(state, search, 0)[1] / PROBE_STEPS


def look_once(state: dict, search, key: int):
    """The proposal of one search, and its seconds without compilation."""
    import jax

    from senn.actions import Widen
    from senn.compilation import compilations
    from senn.growth import propose_at

    before = compilations()
    found, seconds = harness.timed(
        lambda: propose_at(
            state["network"], state["seen"], search, state["policy"], Widen(0),
            jax.random.key(key),
        )
    )  # fmt: skip
    return found[0], seconds - compilations().since(before).seconds


def measure(state: dict, name: str, search, candidates: int, steps: int, repeats: int) -> dict:
    """One search with several keys."""
    if steps < PAPER["steps"]:  # the long ones compile within their first call
        look_once(state, search, 0)
    found = [look_once(state, search, key + 1) for key in range(repeats)]
    scores = [proposal.score for proposal, _ in found]
    result = {
        "search": name, "candidates": candidates, "steps": steps,
        "score": harness.median(scores), "lowest": min(scores), "highest": max(scores),
        "stderr": harness.median([proposal.stderr for proposal, _ in found]),
        "fit_score": harness.median([proposal.fit_score for proposal, _ in found]),
        "seconds": harness.median([seconds for _, seconds in found]),
        "all_scores": scores, "all_seconds": [seconds for _, seconds in found],
    }  # fmt: skip
    print(f"{name} {candidates} × {steps}: Δη′ {result['score']:.5f}, {result['seconds']:.2f} s",
          flush=True)  # fmt: skip
    return result


if __name__ == "__main__":
    main()
