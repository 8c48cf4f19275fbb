"""The tables of docs/evidence.md, from what `senn reproduce` saved.

python experiments/tables.py experiments/ablation.json
python experiments/tables.py experiments/automatic-size.json
python experiments/tables.py experiments/oracle.json
python experiments/tables.py experiments/shrink.json
python experiments/tables.py experiments/at-once.json
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MEASURES = {
    "test_score": "Test score (accuracy, or R² for friedman1 and teacher)",
    "anytime_loss": "Anytime loss: validation loss, mean over all steps",
    "loss_after_first_addition": "Validation loss in the 50 steps after the first addition",
    "loss_after_additions": "Validation loss in the 50 steps after every addition",
    "seconds": "Seconds, without compilation",
}


def main() -> None:
    """Print the tables of one record."""
    record = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    print(f"`{record['command']}`; {processors(record)}\n")
    tables: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
        "ablation": ablation,
        "automatic-size": automatic_size,
        "oracle": oracle,
        "shrink": shrink,
        "at-once": at_once,
    }
    print("\n".join(tables[record["figure"]](record["claims"])))


def processors(record: dict[str, Any]) -> str:
    """Those that the runs were made on; runs of older records do not say so themselves."""
    return ", ".join(
        sorted({run.get("machine", record["machine"])["processor"] for run in record["runs"]})
    )


def ablation(claims: dict[str, Any]) -> Iterator[str]:
    """A table for each measure: SENN's mean, and the others' differences from it."""
    for measure, title in MEASURES.items():
        found = {task: of[measure] for task, of in claims.items() if measure in of}
        if not found:
            continue
        seeds = [f"{task} ({len(arms['SENN']['each'])})" for task, arms in found.items()]
        yield from (f"{title}:", "", _row("", *seeds), _row(*["---"] * (len(found) + 1)))
        yield _row("SENN", *(_number(arms["SENN"]["mean"]) for arms in found.values()))
        for arm in next(iter(found.values())):
            if arm != "SENN":
                yield _row(arm, *(_difference(arms[arm]["against"]) for arms in found.values()))
        yield ""


def controls(claims: dict[str, Any]) -> Iterator[str]:
    """The same without times, as of a machine that others use."""
    timeless = {
        task: {measure: found for measure, found in of.items() if measure != "seconds"}
        for task, of in claims.items()
    }
    return ablation(timeless)


def automatic_size(claims: dict[str, Any]) -> Iterator[str]:
    """One table: where SENN stopped, and the fixed sizes beside it."""
    heads = ("units (least to most)", "test score", "knee", "best fixed size and its score",
             "share of the gain", "time, of the sweep's")  # fmt: skip
    yield from (_row("", *heads), _row(*["---"] * 7))
    for task, at in claims.items():
        units, best = at["senn_units"], at["fixed_units"].index(at["best_units"])
        yield _row(
            task,
            f"{units['mean']:.3g} ({min(units['each'])} to {max(units['each'])})",
            _mean(at["senn_test_score"]),
            str(at["knee_units"]),
            f"{at['best_units']}: {_mean(at['fixed_test_score'][best])}",
            _percent(at["share_of_gain"]),
            _percent(at["share_of_sweep_seconds"]),
        )


def oracle(claims: dict[str, Any]) -> Iterator[str]:
    """One table: how well the score ranks units, by data set, state and steps trained on."""
    heads = ("units then", "steps trained on", "Δη′ with the gain", "the gain with itself",
             "mean gain of searched units", "of drawn ones")  # fmt: skip
    yield from (_row("", *heads), _row(*["---"] * (len(heads) + 1)))
    for task, states in claims.items():
        for at in states:
            name = f"{task} ({len(at['units']['each'])}), step {at['step']}"
            for n, steps in enumerate(at["horizons"]):
                rho = [_rank(at[what][n]) for what in ("correlation", "repeatability")]
                gains = [
                    f"{at[f'gained_by_{how}'][n]['mean']:.2%}" for how in ("searched", "drawn")
                ]
                yield _row(name, f"{at['units']['mean']:.3g}", str(steps), *rho, *gains)


def shrink(claims: dict[str, Any]) -> Iterator[str]:
    """One table: the test scores of every way to that size, a column for each data set."""
    found = list(claims.values())
    heads = [f"{task} ({len(of['units']['each'])})" for task, of in claims.items()]
    yield from (_row("", *heads), _row(*["---"] * (len(heads) + 1)))
    for name, key in (("units grown", "grown_units"), ("units then", "units")):
        yield _row(name, *(f"{of[key]['mean']:.3g}" for of in found))
    yield _row("as grown", *(_number(of["grown"]["mean"]) for of in found))
    for how, said in (("shrunk", "shrunk"), ("at_once", "at once, untrained")):
        for order in found[0][how]:
            cells = (_beside(of[how][order]) for of in found)
            yield _row(f"{said}, by {order}", *cells)
    for name in found[0]["budgets"]:
        scores = (of["budgets"][name] for of in found)
        said = f"{name} from the start"
        yield _row(said, *(f"{_mean(of)}, {sum(of['units_removed'])} removed" for of in scores))


def at_once(claims: dict[str, Any]) -> Iterator[str]:
    """One table: units and losses by how many may come at once; the record of at_once.py."""
    seeds = {task: len(_first(of["arms"])["units"]["each"]) for task, of in claims.items()}
    told = ("units", "loss", "units added")
    heads = [f"{task} ({n}), {what}" for task, n in seeds.items() for what in told]
    yield from (_row("", *heads), _row(*["---"] * (len(heads) + 1)))
    for arm in _first(claims)["arms"]:
        yield _row(arm, *(cell for of in claims.values() for cell in _sizes(of["arms"].get(arm))))


def _sizes(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return [""] * 3
    units, added = (f"{found[key]['mean']:.3g}" for key in ("units", "added"))
    return [units, f"{found['loss']['mean']:.4f}", added]


def promises(claims: dict[str, Any]) -> Iterator[str]:
    """One table: what additions brought of what they promised, of the same record."""
    heads = ("additions", "units each", "brought by the next look", "by the last before another")
    yield from (_row("", *heads), _row(*["---"] * (len(heads) + 1)))
    for task, of in claims.items():
        for when in ("early", "late"):
            found = of[when]
            if found["additions"]:
                shares = (f"{found[key]:.2g}" for key in ("next_look", "last_look"))
                units = f"{min(found['units'])} to {max(found['units'])}"
                yield _row(f"{task}, {when}", str(found["additions"]), units, *shares)


def _first(found: dict[str, Any]) -> Any:
    return next(iter(found.values()))


def _beside(found: dict[str, Any]) -> str:
    """A score, and how far that of the price is above it, with the standard error."""
    if "price_above" not in found:
        return _mean(found)
    above, error = (found["price_above"][key] for key in ("difference", "stderr"))
    spread = "" if error is None else f" ± {error:.2g}"
    return f"{_number(found['mean'])} (price {above:+.2g}{spread})"


def _rank(found: dict[str, Any]) -> str:
    if found["mean"] is None:
        return ""
    return f"{found['mean']:.2f}" + (f" ± {found['ci95']:.2f}" if found["ci95"] else "")


def _difference(found: dict[str, Any]) -> str:
    if found["ci95"] is None:
        return f"{found['difference']:+.2g}"
    text = f"{found['difference']:+.2g} ± {found['ci95']:.1g}"
    p = found["p"]
    return f"**{text}** (p {p:.2g})" if p is not None and p < 0.05 else text


def _mean(found: dict[str, Any]) -> str:
    return _number(found["mean"]) + (f" ± {found['ci95']:.1g}" if found["ci95"] else "")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
