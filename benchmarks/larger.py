"""Tables larger than memory, by the command: peak memory, speed and score of `senn train FOLDER`.

Rows of 30 float32 numbers, and a target of two classes that depends on products of them, in 40
files of Parquet. They are made and trained on in bounded memory:

* streamed: the folder; at most 1.2 GB may be resident.
* read: a pass over the same rows without a step, beside the seconds that steps take.
* in memory: as many rows as a tenth of it, in one file, `--no-stream`; the streamed run's score
  must not be below its own by more than noise.

`--rows` says how many; 20 million take 2.4 GB on the disk. `--processes N` lets so many processes
train on the folder together; each of them may take as much.
"""

import argparse
import json
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import numpy as np
import pyarrow
import pyarrow.parquet

COLUMNS, FILES, ROW_GROUP = 30, 40, 2**16
PEAK_MB = 1200
NOISE = 0.01  # of accuracy


def main() -> None:
    """Make, train, compare and save."""
    given = harness.arguments(__doc__ or "", repeats=1, extra=_options)
    rows = given.rows or (200_000 if given.quick else 20_000_000)
    with tempfile.TemporaryDirectory(prefix="senn-larger-") as name:
        folder = Path(name)
        make(folder / "all", rows, FILES, seed=0)
        make(folder / "tenth", rows // 10, 1, seed=0)
        streamed = together(given, folder / "all")
        reading, _ = harness.fresh(read, folder=str(folder / "all"))
        whole = train(given, folder / "tenth" / "00.parquet", "--no-stream")
    for what, run in (("streamed", streamed), ("a tenth in memory", whole)):
        print(f"{what}: {run['peak_mb']:.0f} MB, {run['process_seconds']:.0f} s, "
              f"accuracy {run['test_score']:.4f}, hidden sizes {run['hidden_sizes']}")  # fmt: skip
    print(f"of {streamed['training_seconds']:.0f} s of steps: a pass is read in {reading:.1f} s")
    good = streamed["peak_mb"] <= PEAK_MB and streamed["test_score"] > whole["test_score"] - NOISE
    print(f"at most {PEAK_MB} MB, and as good as the tenth to {NOISE}: {'yes' if good else 'NO'}")
    if given.out:
        result = {
            "machine": harness.machine(), "rows": rows, "columns": COLUMNS,
            "streamed": streamed, "tenth in memory": whole,
            "seconds to read a pass": reading,
        }  # fmt: skip
        given.out.write_text(json.dumps(result, indent=2) + "\n")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, help="(default: 20,000,000; quick: 200,000)")
    parser.add_argument("--processes", type=int, default=1, help="(default: 1)")
    parser.add_argument("--train", default="--max-iter 2 --max-units 60", help="options of it")


def together(given: argparse.Namespace, data: Path) -> dict:
    """What all processes take that train on a folder together; the first tells the summary."""
    if given.processes == 1:
        return train(given, data)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{free.getsockname()[1]}"
    shared = "--processes", str(given.processes), "--coordinator", at
    with ThreadPoolExecutor(given.processes) as pool:
        runs = [
            pool.submit(run, given, data, *shared, "--process", str(i))
            for i in range(given.processes)
        ]
    peaks = [found.result().peak_mb for found in runs]
    return summary(runs[0].result()) | {"peak_mb": max(peaks), "peaks_mb": peaks}


def train(given: argparse.Namespace, data: Path, *more: str) -> dict:
    """The summary of `senn train`, and what its process took."""
    return summary(run(given, data, *more))


def run(given: argparse.Namespace, data: Path, *more: str) -> harness.Finished:
    """A process to its end."""
    words = [harness.SENN, "train", str(data), "--json", "--quiet", *given.train.split(), *more]
    return harness.run_process(words)


def summary(done: harness.Finished) -> dict:
    """What matters of it."""
    told = json.loads(done.output)
    kept = ("hidden_sizes", "test_score", "validation_score", "steps", "seconds", "stop_reason",
            "training_seconds")  # fmt: skip
    return {name: told[name] for name in kept} | {
        "peak_mb": done.peak_mb, "process_seconds": done.seconds
    }  # fmt: skip


def read(folder: str) -> float:
    """Seconds to read a pass, once it is known what there is."""
    from senn.datasets.options import check_options
    from senn.datasets.streamed import streamed_dataset

    options = check_options(None, None, None, 0.2, 0)
    stream = streamed_dataset(Path(folder), options, 0.1, lambda *_: None).stream
    begin = time.perf_counter()
    for _ in stream.read(0, 0):
        pass
    return time.perf_counter() - begin


def make(folder: Path, rows: int, files: int, seed: int) -> None:
    """Files of rows that nothing else has."""
    folder.mkdir(parents=True)
    for k in range(files):
        rng = np.random.default_rng([seed, k])
        x = rng.standard_normal((rows // files, COLUMNS), np.float32)
        score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3] - 0.5 * x[:, 4] ** 2
        y = (score + 0.3 * rng.standard_normal(len(x)) > -0.5).astype(np.int64)
        columns = {f"x{i}": x[:, i] for i in range(COLUMNS)} | {"y": y}
        pyarrow.parquet.write_table(
            pyarrow.table(columns), folder / f"{k:02}.parquet", row_group_size=ROW_GROUP
        )


if __name__ == "__main__":
    main()
