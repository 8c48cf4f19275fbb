"""The ledger of a run: every evaluation, every consideration, every addition, as plain records."""

import dataclasses
import json
import math
import reprlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from senn.words import counted, place


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


class _Placed:
    """A record of one place."""

    kind: str
    units: int

    @property
    def inserts(self) -> bool:
        """Whether it is about a new layer."""
        return self.kind == "layer"

    @property
    def what(self) -> str:
        """What it is about, in words."""
        return counted(self.units, "unit")


@dataclass(frozen=True)
class Consideration(_Placed):
    """One place at one time: what the best proposal there scored, and the verdict."""

    step: int
    kind: str  # "width" or "layer"
    position: int  # hidden layer that would widen, or linear map that would read the new layer
    place: str  # that in words
    units: int
    fit_score: float
    score: float  # Δη′ on held-out examples
    stderr: float
    eta: float  # η_c of the reading maps together
    limit: float  # λ
    reach: float  # what α is relative to
    worth: float  # the cautious score for what it costs; of old ledgers, by the default policy
    accepted: bool
    verdict: str  # "added", "noise", "alpha", "tau" (by which it was refused) or "elsewhere"
    reason: str

    @property
    def share(self) -> float:
        """What α is compared with: the worth, of all that is left to gain."""
        return self.worth / self.reach if self.reach > 0 else 0.0


@dataclass(frozen=True)
class Addition(_Placed):
    """Units that were added. The losses are of the same examples just before and just after."""

    step: int
    kind: str
    position: int
    place: str
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
class Removal(_Placed):
    """Units that left. The losses are of the same examples just before and just after.

    A layer that its last unit has left is taken out by a record of its own, of no units.
    """

    step: int
    kind: str  # "removal", or of a whole layer "layer removal"
    position: int  # hidden layer
    place: str
    units: int
    slots: tuple[int, ...]  # where they were, in the order in which they left
    price: float  # what the quadratic model said that losing them would cost, in units of the loss
    loss_before: float
    loss_after: float
    hidden_sizes: tuple[int, ...]  # after it
    n_parameters: int
    reason: str
    seconds: float  # since the start of the run

    @property
    def whole(self) -> bool:
        """Whether it is about a layer, of which no unit was left."""
        return self.kind == "layer removal"

    @property
    def what(self) -> str:
        """What left, in words."""
        return "the empty layer" if self.whole else super().what


@dataclass(frozen=True)
class Recovery:
    """A return to the last good state after a step whose loss was not finite."""

    step: int  # the step returned to
    scale: float  # what the learning rate is multiplied by from then on
    reason: str


class Ending(StrEnum):
    """What ended a run; `History.stop_reason` has it in words."""

    STEPS = "steps"  # all that were asked for, or all epochs
    SECONDS = "seconds"  # the budget of time
    ANNEALED = "annealed"  # after growth had ended
    PLATEAU = "plateau"  # no better loss after growth
    DATA = "data"  # the stream has no more
    CALLBACK = "callback"  # it asked for it
    NOT_FINITE = "not finite"  # the loss, again and again
    INTERRUPTED = "interrupted"  # Ctrl-C
    FAILED = "failed"  # an exception was raised


RECORDS: dict[str, type] = {
    "evaluation": Evaluation,
    "consideration": Consideration,
    "addition": Addition,
    "removal": Removal,
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
    ended_by: str = ""  # an `Ending`; "" while it runs, and in ledgers of before there were any
    refit_steps: int = 0  # that an estimator took after these, on the rows kept apart as well

    @property
    def end(self) -> str:
        """Why training ended, and what an estimator did then; "" while it runs."""
        more = f", and {self.refit_steps} steps were taken on all rows" if self.refit_steps else ""
        return self.stop_reason + more

    @property
    def evaluations(self) -> list[Evaluation]:
        """The evaluations."""
        return self._of(Evaluation)

    @property
    def considerations(self) -> list[Consideration]:
        """The considerations, one per place and time."""
        return self._of(Consideration)

    @property
    def additions(self) -> list[Addition]:
        """The additions."""
        return self._of(Addition)

    @property
    def removals(self) -> list[Removal]:
        """The removals."""
        return self._of(Removal)

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
        """A pandas DataFrame of one type of record, such as "evaluation" or "addition" (`RECORDS`).

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
        Path(path).write_text(self.json_lines(), "utf-8")

    def json_lines(self) -> str:
        """What `to_json_lines` writes."""
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.to_rows())

    @classmethod
    def from_json_lines(cls, path: str | Path) -> "History":
        """Read what `to_json_lines` wrote, or the callback `JSONLines`, also if it was killed.

        Without a summary, as a killed run leaves it, times and counts are zero, and
        `stop_reason` is empty. A last line that was cut off is left out. Raises a `ValueError`,
        one sentence, that names the line of anything else.
        """
        return cls.from_rows(_whole_rows(Path(path).read_text("utf-8")))

    def to_rows(self) -> list[dict[str, Any]]:
        """The summary and then every record as JSON takes them, NaN and infinity as None."""
        return [to_row(self), *map(to_row, self.records)]

    @classmethod
    def from_rows(cls, rows: Iterable[dict[str, Any]]) -> "History":
        """Read what `to_rows` made; the summary may come anywhere, or be missing."""
        history, records = cls(), []
        for number, row in enumerate(rows, start=1):
            record = _record(row, number)
            if isinstance(record, History):
                history = record
            else:
                records.append(record)
        history.records = records
        return history

    def _of(self, cls: type) -> list[Any]:
        return [r for r in self.records if isinstance(r, cls)]


def to_row(record: Any) -> dict[str, Any]:
    """A record, or the summary of a `History`, as JSON takes it, with its "record" type first."""
    if isinstance(record, History):
        return _finite({"record": "summary", **record.summary()})
    return _finite({"record": NAMES[type(record)], **dataclasses.asdict(record)})


def _whole_rows(text: str) -> Iterator[Any]:
    """One object a line; what follows the last line break was cut off."""
    whole = text[: text.rfind("\n") + 1].splitlines()
    if not whole:
        raise ValueError("there is no ledger in it")
    for number, line in enumerate(whole, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _unreadable(number, error) from error
        yield row


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    bad = {k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
    return {k: None if k in bad else v for k, v in row.items()}


_JSON_TYPES: dict[Any, set[type]] = {
    int: {int},
    bool: {bool},
    str: {str},
    float: {int, float},
    int | None: {int, type(None)},
    float | None: {int, float, type(None)},
}


def _record(row: Any, number: int) -> Any:
    """The record that the line of this number holds, or the summary without its records."""
    try:
        cls = History if row["record"] == "summary" else RECORDS[row["record"]]
        types = {f.name: f.type for f in dataclasses.fields(cls)}
        values = {name: value for name, value in _upgraded(row).items() if name != "record"}
        return cls(**{name: _typed(name, value, types[name]) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise _unreadable(number, error) from error


def _upgraded(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is written now: ledgers once said less of places, and nothing of worth."""
    if row["record"] not in ("consideration", "addition") or "place" in row:
        return row
    row = {**row, "place": place(row["kind"], row["position"])}
    if row["record"] == "consideration":
        del row["reader"]
        cost = 60.0 if row["kind"] == "layer" else row["units"]  # the policy's defaults then
        row["worth"] = ((row["score"] or 0.0) - 0.5 * (row["stderr"] or 0.0)) / cost
        said = (code for words, code in _SAID.items() if words in row["reason"])
        row["verdict"] = "added" if row["accepted"] else next(said, "elsewhere")
    return row


_SAID = {"gains nothing": "noise", "α asks": "alpha", "τ asks": "tau"}  # in reasons of refusals


def _unreadable(number: int, error: Exception) -> ValueError:
    return ValueError(f"line {number} of the ledger cannot be read: {error}")


def _typed(name: str, value: Any, kind: Any) -> Any:
    """A value as its field holds it: JSON has neither tuples nor NaN."""
    if kind == tuple[int, ...]:
        return tuple(_typed(name, n, int) for n in value)
    if kind is float and value is None:
        return math.nan
    if type(value) not in _JSON_TYPES[kind]:
        raise ValueError(f"{name} is {reprlib.repr(value)}")
    return value
