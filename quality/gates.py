"""Whether a change left every number alone: short runs of two commits, compared bit by bit.

Each case is a run of 200 steps that grows, made once by the package of a commit (the base) and once
by that of the working tree, in processes of their own on this machine: bits belong to a machine,
and no test can hold them as constants. Compared are

* parameters: the bits of all numbers of the network that is returned, in the order of their size,
  so that a layout of one's own does not matter;
* sizes, and every record of the ledger, seconds apart;
* files: a model and a checkpoint that the base wrote are read by the working tree, which predicts
  the same bits and goes on to the same network.

    python quality/gates.py              # the last commit, or that before it if nothing is changed
    python quality/gates.py --base REV --cases "kfac, classes;files"

Each commit's own copy of this script makes its runs, so that names may change with it. Ends with 1
where anything differs, unless --known names those cases.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STEPS = 200
Result = dict[str, Any]


def main() -> int:
    """Run both, compare, and say what differs."""
    given = arguments()
    if given.work:
        given.work.write_text(json.dumps(work(given.files, given.cases), indent=1), "utf-8")
        return 0
    base = given.base or default_base()
    with tempfile.TemporaryDirectory(prefix="senn-gates-") as folder:
        files, tree = Path(folder, "files"), Path(folder, "base")
        files.mkdir()
        git("worktree", "add", "--quiet", "--detach", str(tree), base)
        try:
            before = runs_of(tree, files, given.cases)  # first: it writes the files
            after = runs_of(ROOT, files, given.cases)
        finally:
            git("worktree", "remove", "--force", str(tree))
    differing = sorted(set(differences(before, after)) - set(given.known.split(";")))
    print(f"{len(before)} cases against {base}: ", end="")
    print(f"{', '.join(differing)} differ" if differing else "no bit differs")
    return bool(differing)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", metavar="REV", help="what to compare with")
    parser.add_argument("--cases", type=names, default="", metavar="NAME;NAME", help="some alone")
    parser.add_argument(
        "--known", type=names, default="", metavar="NAME;NAME",
        help="cases that are meant to differ",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def names(text: str) -> str:
    """Those of cases, by semicolons; they have commas in them."""
    if unknown := {*filter(None, text.split(";"))} - {*RUNS, "files"}:
        raise argparse.ArgumentTypeError(
            f"{unknown.pop()!r} is no case; choose from {'; '.join([*RUNS, 'files'])}"
        )
    return text


def default_base() -> str:
    """The last commit if the working tree differs from it, else the one before."""
    return "HEAD" if git("status", "--porcelain", "--", "src") else "HEAD~1"


def git(*words: str) -> str:
    """What git says in this repository."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def runs_of(tree: Path, files: Path, cases: str) -> dict[str, Result]:
    """The results of one tree's package, by its own script if it has one."""
    own = tree / "quality" / "gates.py"
    results = files.parent / f"{tree.name}.json"
    words = ["--work", str(results), "--files", str(files), *(["--cases", cases] if cases else [])]
    subprocess.run(
        [sys.executable, str(own if own.exists() else Path(__file__)), *words],
        env=os.environ | {"PYTHONPATH": str(tree / "src"), "SENN_CACHE_DIR": "off"},
        check=True,
    )
    return json.loads(results.read_text("utf-8"))


def differences(before: dict[str, Result], after: dict[str, Result]) -> Iterator[str]:
    """The cases that differ; prints what does."""
    for case in sorted({*before, *after}):
        old, new = before.get(case, {}), after.get(case, {})
        old, new = with_common_fields(old, new)
        wrong = [part for part in sorted({*old, *new}) if old.get(part) != new.get(part)]
        print(f"{case}: {'the same' if not wrong else ', '.join(wrong) + ' differ'}")
        for part in wrong:
            print(f"  {part} was {first_difference(old.get(part), new.get(part))}")
        if wrong:
            yield case


def with_common_fields(old: Result, new: Result) -> tuple[Result, Result]:
    """Both, their records with the fields that both have: ledgers may come to say more."""
    ledgers = old.get("ledger", []), new.get("ledger", [])
    if len(ledgers[0]) != len(ledgers[1]):
        return old, new
    shared = [a.keys() & b.keys() for a, b in zip(*ledgers, strict=True)]
    before, after = (
        [{name: row[name] for name in row if name in names}
         for row, names in zip(ledger, shared, strict=True)]
        for ledger in ledgers
    )  # fmt: skip
    return {**old, "ledger": before}, {**new, "ledger": after}


def first_difference(old: Any, new: Any) -> str:
    """Where two results part, in words."""
    if isinstance(old, list) and isinstance(new, list):
        pairs = enumerate(zip(old, new, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))
        old, new = ([*part, None][at] if at <= len(part) else None for part in (old, new))
        return f"{old}, is {new} (number {at})"
    return f"{old}, is {new}"


# --- The runs of one commit ----------------------------------------------------------------


def work(files: Path, cases: str) -> dict[str, Result]:
    """All cases, by the package that is imported."""
    wanted = cases.split(";") if cases else [*RUNS, "files"]
    results = {}
    for name in wanted:
        print(f"{name} …", file=sys.stderr, flush=True)
        results[name] = from_files(files) if name == "files" else RUNS[name]()
    return results


def told(network: Any, history: Any) -> Result:
    """What is compared of a run."""
    import dataclasses

    records = [dataclasses.asdict(record) for record in history.records]
    for record in records:
        record.pop("seconds", None)
    return {
        "parameters": bits_of(network),
        "sizes": list(network.hidden_sizes),
        "ledger": [json.loads(json.dumps(record)) for record in records],
        "end": [history.steps, history.returned_step, history.growth_ended, history.stop_reason],
    }


def bits_of(tree: Any) -> str:
    """A hash of all floating-point numbers of a tree but zeros, in the order of their size."""
    import jax
    import numpy as np

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    numbers = [leaf.ravel() for leaf in leaves if np.issubdtype(leaf.dtype, np.floating)]
    every = np.sort(np.concatenate(numbers))
    return hashlib.sha256(every[every != 0].tobytes()).hexdigest()[:16]


def table(task: str) -> tuple[Any, Any]:
    """Rows of six numbers, and what to predict of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 6)).astype(np.float32)
    value = np.sin(2 * x[:, 0]) * x[:, 1] + 0.5 * x[:, 2] ** 2
    return x, np.digitize(value, [0, 0.6]) if task == "classes" else value.astype(np.float32)


def grown(
    optimizer: Any = "kfac", task: str = "classes", resume: Any = None, callback: Any = None,
    **policy: Any,
):  # fmt: skip
    """A run of the library's function."""
    import jax

    import senn

    x, y = table(task)
    outputs = 3 if task == "classes" else 1
    network = senn.nn.MLP(6, outputs, (3,), key=jax.random.key(0))
    settings = {"alpha": 1e-5, "every": 20, "patience": 9, "plateau": 99} | policy
    return senn.fit(
        network, (x[:500], y[:500]), validation=(x[500:], y[500:]), optimizer=optimizer,
        policy=senn.Policy(**settings), seed=1, resume=resume,
        callbacks=[callback] if callback else [],
        schedule=senn.Schedule(max_steps=STEPS, batch_size=128, evaluate_every=25),
    )  # fmt: skip


def streamed() -> Result:
    """Classes that come one after another."""
    import numpy as np

    import senn

    x, y = table("classes")
    model = senn.SENNClassifier(
        batch_size=64, random_state=0, policy=senn.Policy(alpha=1e-5, every=10, depth=False)
    )
    draw = np.random.default_rng(2)
    for classes in (2, 3):
        for _ in range(30):
            rows = draw.permutation(np.flatnonzero(y < classes))[:64]
            model.partial_fit(x[rows], y[rows])
    return told(model.network_, model.history_) | {"predictions": hashed(model.predict_proba(x))}


def estimator(task: str) -> Result:
    """A fit as most users make it."""
    import senn

    x, y = table(task)
    make = senn.SENNClassifier if task == "classes" else senn.SENNRegressor
    model = make(random_state=0, max_iter=40).fit(x, y)
    predicted = model.predict_proba(x) if task == "classes" else model.predict(x)
    return told(model.network_, model.history_) | {"predictions": hashed(predicted)}


def from_files(folder: Path) -> Result:
    """A model and a checkpoint, written if they are not there, and what they lead to."""
    import senn
    from senn.callbacks import Callback, StopTraining

    try:
        from senn.checkpoints import read_checkpoint, write_checkpoint
    except ImportError:  # what commits before this script call it
        from senn.resume import read_checkpoint, write_checkpoint

    class Half(Callback):
        def on_pause(self, state: Any) -> None:
            if state.train.network.hidden_sizes != (3,) and state.step >= STEPS // 2:
                write_checkpoint(folder / "half", state, {})
                raise StopTraining("half way")

    x, y = table("classes")
    if not (folder / "model.senn").exists():
        senn.SENNClassifier(random_state=0, max_iter=10).fit(x, y).save(folder / "model.senn")
        grown(callback=Half())
    model = senn.load(folder / "model.senn")
    network, history = grown(resume=read_checkpoint(folder / "half").state(senn.optimizers.KFAC()))
    return told(network, history) | {"predictions": hashed(model.predict_proba(x))}


def hashed(array: Any) -> str:
    """A hash of an array's bits."""
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def _run(*given: Any, **policy: Any) -> Callable[[], Result]:
    return lambda: told(*grown(*given, **policy))


def _adam() -> Any:
    import optax

    return optax.adam(0.01)


RUNS: dict[str, Callable[[], Result]] = {
    "kfac, classes": _run("kfac", "classes"),
    "kfac, numbers": _run("kfac", "numbers"),
    "natural gradient, classes": _run("natural_gradient", "classes"),
    "natural gradient, numbers": _run("natural_gradient", "numbers"),
    "adam, classes": lambda: told(*grown(_adam(), "classes")),
    "adam, numbers": lambda: told(*grown(_adam(), "numbers")),
    "residual layers": _run("kfac", "classes", layers_last=False, layer_every=20, max_layers=3),
    "identity layers": _run(
        "kfac", "classes", layers_last=False, layer_every=20, max_layers=2, layer_kind="identity"
    ),
    "a stream, a class that comes later": streamed,
    "classifier": lambda: estimator("classes"),
    "regressor": lambda: estimator("numbers"),
}

if __name__ == "__main__":
    sys.exit(main())
