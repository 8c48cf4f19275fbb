"""The ledger of a run: every evaluation, every consideration, every addition, as plain records."""

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """How the network did after `step` steps."""

    step: int
    epoch: float
    seconds: float  # since the start of the run
    loss: float  # training loss, mean over the steps since the last evaluation
    validation_loss: float | None
    validation_score: float | None  # accuracy or R²
    eta: float | None  # whole-network η of the last step, if the optimiser computes it
    solver_steps: float | None  # mean conjugate-gradient steps
    hidden_sizes: tuple[int, ...]
    n_parameters: int


@dataclass(frozen=True)
class Consideration:
    """One location at one time: what the best proposal there scored, and the verdict."""

    step: int
    kind: str  # "width" or "layer"
    position: int  # hidden layer that would widen, or linear map that would read the new layer
    reader: int  # linear map at which the units were scored
    units: int
    fit_score: float
    score: float  # Δη′ on held-out examples
    stderr: float
    eta: float  # η_c of the reading map
    limit: float  # λ
    reach: float  # what α is relative to
    accepted: bool
    reason: str


@dataclass(frozen=True)
class Addition:
    """Units that were added. The losses are of the same examples just before and just after."""

    step: int
    kind: str
    position: int
    units: int
    score: float
    stderr: float
    loss_before: float
    loss_after: float
    hidden_sizes: tuple[int, ...]  # after it
    n_parameters: int
    reason: str
    seconds: float  # since the start of the run


@dataclass(frozen=True)
class Recovery:
    """A return to the last good state after a step whose loss was not finite."""

    step: int  # the step returned to
    scale: float  # what the learning rate is multiplied by from then on
    reason: str


RECORDS: dict[str, type] = {
    "evaluation": Evaluation,
    "consideration": Consideration,
    "addition": Addition,
    "recovery": Recovery,
}
NAMES = {cls: name for name, cls in RECORDS.items()}


@dataclass
class History:
    """All records of a run in the order they were made, where the time went, and why it ended."""

    records: list[Any] = field(default_factory=list)
    training_seconds: float = 0.0
    growth_seconds: float = 0.0  # searching, deciding, adding
    compile_seconds: float = 0.0  # not part of the two above
    n_compilations: int = 0
    steps: int = 0
    returned_step: int = 0  # the step whose network was returned
    stop_reason: str = ""
    growth_ended: int | None = None  # the step from which on nothing was added any more

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations."""
        return self._of(Evaluation)

    @property
    def considerations(self) -> list[Consideration]:
        """The considerations, one per location and time."""
        return self._of(Consideration)

    @property
    def additions(self) -> list[Addition]:
        """The additions."""
        return self._of(Addition)

    @property
    def recoveries(self) -> list[Recovery]:
        """The returns to an earlier state after a loss that was not finite."""
        return self._of(Recovery)

    @property
    def seconds(self) -> float:
        """Training, growth and compilation together."""
        return self.training_seconds + self.growth_seconds + self.compile_seconds

    def summary(self) -> dict[str, Any]:
        """Everything but the records."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["records"]
        return values

    def to_records(self) -> list[dict[str, Any]]:
        """Plain dictionaries, each with its "record" type, in order."""
        return [{"record": NAMES[type(r)], **dataclasses.asdict(r)} for r in self.records]

    def to_frame(self, record: str = "evaluation"):
        """A pandas DataFrame of one type of record: evaluation, consideration, addition, recovery.

        Needs pandas, which comes with `senn[tables]`.
        """
        if record not in RECORDS:
            raise ValueError(f"record={record!r} is not known; choose one of {', '.join(RECORDS)}.")
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("A DataFrame needs pandas: pip install 'senn[tables]'.") from error
        columns = [f.name for f in dataclasses.fields(RECORDS[record])]
        rows = [dataclasses.asdict(r) for r in self._of(RECORDS[record])]
        return pd.DataFrame(rows, columns=columns)

    def to_json_lines(self, path: str | Path) -> None:
        """Write one JSON object a line: the summary first, then every record.

        JSON knows no NaN and no infinity: they are written as null, and read as NaN.
        """
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.to_rows())
        Path(path).write_text(text, "utf-8")

    @classmethod
    def from_json_lines(cls, path: str | Path) -> "History":
        """Read what `to_json_lines` wrote, or the callback `JSONLines`, also if it was killed.

        Without a summary, as a killed run leaves it, times and counts are zero, and
        `stop_reason` is empty. A last line that was cut off is left out.
        """
        return cls.from_rows(_whole_rows(Path(path).read_text("utf-8")))

    def to_rows(self) -> list[dict[str, Any]]:
        """The summary and then every record as JSON takes them, NaN and infinity as None."""
        return [to_row(self), *map(to_row, self.records)]

    @classmethod
    def from_rows(cls, rows: Iterable[dict[str, Any]]) -> "History":
        """Read what `to_rows` made; the summary may come anywhere, or be missing."""
        summary: dict[str, Any] = {}
        records = []
        for row in rows:
            if row["record"] == "summary":
                summary = {k: v for k, v in row.items() if k != "record"}
            else:
                records.append(_record({**row}))
        return cls(records=records, **summary)

    def _of(self, cls: type) -> list[Any]:
        return [r for r in self.records if isinstance(r, cls)]


def to_row(record: Any) -> dict[str, Any]:
    """A record, or the summary of a `History`, as JSON takes it, with its "record" type first."""
    if isinstance(record, History):
        return _finite({"record": "summary", **record.summary()})
    return _finite({"record": NAMES[type(record)], **dataclasses.asdict(record)})


def _whole_rows(text: str) -> list[dict[str, Any]]:
    """One object a line; what follows the last line break was cut off."""
    whole = text[: text.rfind("\n") + 1].splitlines()
    if not whole:
        raise ValueError("there is no ledger in it")
    return [json.loads(line) for line in whole]


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    bad = {k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
    return {k: None if k in bad else v for k, v in row.items()}


def _record(row: dict[str, Any]) -> Any:
    cls = RECORDS[row.pop("record")]
    if "hidden_sizes" in row:
        row["hidden_sizes"] = tuple(row["hidden_sizes"])
    for f in dataclasses.fields(cls):
        if f.type is float and row[f.name] is None:
            row[f.name] = math.nan
    return cls(**row)
