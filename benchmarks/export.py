"""Predicting without senn: latency and size of the ONNX and the NumPy export.

A classifier of MNIST's shape, 50 units in one hidden layer, rational, with standardised inputs;
its weights are random, for what they are changes neither time nor size. With `--conv` it is a
convolutional network of three stages of 8 channels, which reads the same images. Each way to
predict runs in a fresh process, on one thread: `predict_proba` of the estimator, onnxruntime, and
the NumPy function that `senn export` writes. First is the time until the process has its first
prediction, with loading, compilation, and all imports but NumPy's; then the median seconds of a
call for 1 and for 10,000 rows, all of them images of MNIST's test set (quick: random numbers). The
greatest difference of probabilities is from those of the estimator.
"""

import math
import tempfile
from pathlib import Path

import harness

SIZES = (784, 50, 10)
QUICK_SIZES = (64, 8, 10)
CHANNELS = (8, 8, 8)
ROWS = {"one row": 1, "10,000 rows": 10_000}
THREADS = (harness.THREADS, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREADS, "1")


def main() -> None:
    """Run, print and write."""
    given = harness.arguments(__doc__, repeats=20, extra=add_options)
    sizes = QUICK_SIZES if given.quick else SIZES
    what = (
        f"convolutions of {CHANNELS} channels" if given.conv else f"a classifier of sizes {sizes}"
    )
    report = harness.Report("export", given, task=f"{what}, one thread")
    with tempfile.TemporaryDirectory(prefix="senn-benchmark-") as folder:
        files, _ = harness.fresh(
            write, folder=folder, sizes=sizes, conv=given.conv,
            data_dir=None if given.quick else given.data_dir,
        )  # fmt: skip
        ways = {}
        for way in (by_estimator, by_onnxruntime, by_numpy):
            name = way.__name__.removeprefix("by_")
            ways[name], process = harness.fresh(
                way, env=ONE_THREAD, folder=folder, repeats=given.repeats
            )
            ways[name] |= {"process_seconds": process.seconds, "peak_mb": process.peak_mb}
            print(f"{name}: {ways[name]}", flush=True)
    rows = [
        {
            "by": name,
            "first prediction, s": found["first_seconds"],
            **{f"{rows}, ms": found["milliseconds"][rows] for rows in ROWS},
            "difference": found["difference"],
        }
        for name, found in ways.items()
    ]
    harness.table("latency on one thread", rows)
    harness.table("sizes", [{"file": name, "bytes": size} for name, size in files.items()])
    report.finish(sizes=list(sizes), ways=ways, files=files)


def add_options(parser) -> None:
    """Options of this benchmark alone."""
    parser.add_argument("--conv", action="store_true", help="a network of convolutions")


def write(folder: str, sizes: list[int], conv: bool, data_dir: str | None) -> dict[str, int]:
    """Write the model, its exports, the rows, and the estimator's probabilities of them."""
    import jax
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    import senn

    if data_dir is None:
        x = np.random.default_rng(0).uniform(size=(max(ROWS.values()), sizes[0]))
    else:
        x = senn.datasets.load("mnist", data_dir=data_dir).x_test
    x = x.astype(np.float32)
    # Fitted for a moment, only to be complete; then as large as is wanted.
    settings = {"max_iter": 1, "policy": senn.Policy(width=False, depth=False)}
    if conv:
        side = math.isqrt(sizes[0])
        x = x.reshape(-1, side, side)
        model = senn.SENNClassifier(network="conv", channels=CHANNELS, **settings)
        model.fit(x[:100], np.arange(100) % sizes[-1])
    else:
        model = senn.SENNClassifier(sizes[1:-1], **settings)
        model.fit(x[:100], np.arange(100) % sizes[-1])
        model.network_ = senn.nn.MLP(sizes[0], sizes[-1], sizes[1:-1], key=jax.random.key(0))
        model.scaler_ = StandardScaler().fit(x.astype(float))
    place = Path(folder)
    model.save(place / "model.senn")
    senn.export.to_onnx(model, place / "model.onnx")
    senn.export.to_numpy(model, place / "model.npz")
    np.save(place / "x.npy", x)
    np.save(place / "p.npy", model.predict_proba(x))
    return {file.name: file.stat().st_size for file in sorted(place.glob("model*"))}


def by_estimator(folder: str, repeats: int) -> dict:
    """`predict_proba` of the estimator."""
    return measured(folder, repeats, lambda: _estimator(folder))


def by_onnxruntime(folder: str, repeats: int) -> dict:
    """onnxruntime on the ONNX file."""
    return measured(folder, repeats, lambda: _onnxruntime(folder))


def by_numpy(folder: str, repeats: int) -> dict:
    """The function that was written beside the arrays."""
    return measured(folder, repeats, lambda: _numpy(folder))


def _estimator(folder: str):
    import senn

    return senn.load(Path(folder) / "model.senn").predict_proba


def _onnxruntime(folder: str):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        Path(folder) / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(["probabilities"], {"X": x})[0]


def _numpy(folder: str):
    import sys

    sys.path.insert(0, folder)
    import model_predict  # pyright: ignore[reportMissingImports]

    model = model_predict.load(Path(folder) / "model.npz")
    return lambda x: model_predict.predict_proba(model, x)


def measured(folder: str, repeats: int, make) -> dict:
    """Seconds until the first prediction, and the median milliseconds of later calls."""
    import numpy as np

    x, wanted = (np.load(Path(folder) / f"{name}.npy") for name in "xp")
    predict, start_seconds = harness.timed(make)
    _, first_seconds = harness.timed(lambda: predict(x[:1]))
    return {
        "first_seconds": start_seconds + first_seconds,
        "milliseconds": {
            name: 1000 * harness.median_seconds(lambda n=n: predict(x[:n]), repeats)
            for name, n in ROWS.items()
        },
        "difference": float(np.abs(predict(x) - wanted).max()),
    }


if __name__ == "__main__":
    main()
