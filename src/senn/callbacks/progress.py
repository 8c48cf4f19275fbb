"""Progress for people: a live display on a terminal, plain lines elsewhere."""

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from senn.callbacks.base import Callback
from senn.history import Addition, Consideration, Evaluation, History, Recovery, Removal
from senn.words import duration

REFRESHES_PER_SECOND = 4
SECONDS_BETWEEN_LINES = 5.0


@dataclass(eq=False)
class Progress(Callback):
    """Shows training: what grows scrolls by, with the reason; how it goes stands below.

    On a terminal the loss, the sizes, the last decision, the time and the time left stay in
    view. Elsewhere there is one plain line for every addition and recovery and for the end,
    and one for an evaluation or a refusal at most every few seconds, so that logs stay short.

    Args:
        console: where to write; None is standard error.
        score: what the validation score is called, such as "accuracy".
        max_seconds: budget of time, if there is one; with it, or with a known number of steps,
            the most time left is shown.
        every: least seconds between plain lines that are not about growth.
        clock: seconds that never run backwards.
    """

    console: Console | None = None
    score: str = field(default="score", kw_only=True)
    max_seconds: float | None = field(default=None, kw_only=True)
    every: float = field(default=SECONDS_BETWEEN_LINES, kw_only=True)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    # set while training alone: a display cannot be copied or pickled
    _view: "_View | None" = field(default=None, init=False, repr=False)

    def on_start(self, max_steps: int | None) -> None:
        """Open the display."""
        self.close()
        console = self.console or Console(stderr=True)
        lively = console.is_terminal and not console.is_dumb_terminal
        view = _LiveView if lively else _PlainView
        self._view = view(console, self, max_steps)

    def on_steps(self, step: int, loss: float) -> None:
        """Keep step and loss up to date."""
        if self._view:
            self._view.step, self._view.loss = step, loss

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Show how the network does."""
        if self._view:
            self._view.evaluated(evaluation)

    def on_considerations(self, considerations: list[Consideration], reason: str) -> None:
        """Show why nothing is added; an addition tells its own reason."""
        if self._view and not any(c.accepted for c in considerations):
            self._view.refused(reason)

    def on_addition(self, addition: Addition) -> None:
        """Show what was added, and why."""
        if self._view:
            self._view.grew(addition)

    def on_removal(self, removal: Removal) -> None:
        """Show what left, and why."""
        if self._view:
            self._view.shrank(removal)

    def on_compilation(self, program: str) -> None:  # noqa: ARG002
        """Say once what there is to wait for."""
        if self._view and not self._view.compiling:
            self._view.compiling = True
            self._view.say(f"step {self._view.step}", "wait", FIRST_TIME)

    def on_recovery(self, recovery: Recovery) -> None:
        """Show that training went back."""
        if self._view:
            scale = f"the learning rate is {recovery.scale:.3g} of what it was"
            self._view.say(f"step {recovery.step}", "back", f"{recovery.reason}; {scale}")

    def on_stop(self, history: History) -> None:
        """Close the display and say why training ended."""
        view = self._view
        self.close()
        if view:
            spent = duration(view.elapsed())
            view.say(f"step {history.steps}", "stop", f"{history.stop_reason}, after {spent}")

    def close(self) -> None:
        """Leave the terminal as it was; does no harm when called again."""
        if self._view:
            self._view.close()
        self._view = None


class _View:
    """What is known of the run, and how to say it in lines."""

    def __init__(self, console: Console, settings: Progress, max_steps: int | None):
        self.console, self.settings, self.max_steps = console, settings, max_steps
        self.start = settings.clock()
        self.step = 0
        self.loss: float | None = None
        self.evaluation: Evaluation | None = None
        self.sizes: tuple[int, ...] | None = None
        self.n_parameters: int | None = None
        self.decision = ""
        self.compiling = False  # whether it has been told

    def evaluated(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.sizes, self.n_parameters = evaluation.hidden_sizes, evaluation.n_parameters

    def refused(self, reason: str) -> None:
        self.decision = f"nothing to add: {reason}"

    def grew(self, addition: Addition) -> None:
        self._changed(addition, "grew", "added")

    def shrank(self, removal: Removal) -> None:
        self._changed(removal, "cut", "left")

    def _changed(self, change: Addition | Removal, what: str, done: str) -> None:
        self.sizes, self.n_parameters = change.hidden_sizes, change.n_parameters
        self.decision = f"{change.what} {done} at step {change.step}: {change.reason}"
        size = f"{sizes_in_words(change.hidden_sizes)}, {change.n_parameters:,} parameters"
        self.say(f"step {change.step}", what, f"by {change.what} to {size}; {change.reason}")

    def say(self, when: str, what: str, text: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def elapsed(self) -> float:
        return self.settings.clock() - self.start

    def most_left(self) -> float | None:
        """Seconds until a known end; training may stop before."""
        elapsed, ends = self.elapsed(), []
        if self.settings.max_seconds is not None:
            ends.append(self.settings.max_seconds)
        if self.max_steps is not None and self.step > 0:
            ends.append(elapsed * self.max_steps / self.step)
        return max(min(ends) - elapsed, 0.0) if ends else None

    def scores(self) -> list[str]:
        parts = [] if self.loss is None else [f"loss {self.loss:.4g}"]
        if self.evaluation is not None and self.evaluation.validation_score is not None:
            parts.append(f"validation {self.settings.score} {self.evaluation.validation_score:.4f}")
        if self.sizes is not None and self.n_parameters is not None:
            parts.append(sizes_in_words(self.sizes))
            parts.append(f"{self.n_parameters:,} parameters")
        return parts


class _PlainView(_View):
    """One line at a time, for logs."""

    def __init__(self, console: Console, settings: Progress, max_steps: int | None):
        super().__init__(console, settings, max_steps)
        self.last_line = {"evaluation": -float("inf"), "refusal": -float("inf")}

    def evaluated(self, evaluation: Evaluation) -> None:
        super().evaluated(evaluation)
        if self.due("evaluation"):
            parts = [*self.scores(), duration(self.elapsed())]
            self.say(f"step {evaluation.step}", "eval", ", ".join(parts))

    def refused(self, reason: str) -> None:
        super().refused(reason)
        if self.due("refusal"):
            self.say(f"step {self.step}", "kept", reason)

    def say(self, when: str, what: str, text: str) -> None:
        line = f"{when}: {what}: {text}"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def due(self, kind: str) -> bool:
        """Whether it is long enough since the last line of this kind, or the first one."""
        now = self.settings.clock()
        if now - self.last_line[kind] < self.settings.every:
            return False
        self.last_line[kind] = now
        return True


FIRST_TIME = "compiling for the first time on this machine; it is kept for the next time"
STYLES = {
    "wait": "dim", "grew": "bold green", "cut": "bold magenta", "kept": "dim",
    "back": "bold yellow", "stop": "bold",
}  # fmt: skip


class _LiveView(_View):
    """Lines that scroll by above a status that stays."""

    def __init__(self, console: Console, settings: Progress, max_steps: int | None):
        super().__init__(console, settings, max_steps)
        self.live = Live(
            console=console,
            get_renderable=_weakly(self.status),
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )
        self.live.start()
        # An exception elsewhere may skip `on_stop`; the cursor must come back all the same.
        self.close_once = weakref.finalize(self, self.live.stop)

    def close(self) -> None:
        self.close_once()

    def refused(self, reason: str) -> None:
        super().refused(reason)
        self.say(f"step {self.step}", "kept", reason)

    def say(self, when: str, what: str, text: str) -> None:
        line = Text.assemble((f"{when:>10}  ", "dim"), (what, STYLES[what]), "  ")
        line.append(text, style="dim" if what == "kept" else None)
        self.console.print(line, highlight=False)

    def status(self) -> Table:
        """The lines that stay, cut off at the width of the terminal."""
        lines = ["   ".join([self.position(), *self.scores()])]
        if self.decision:
            lines.append(f"last decision: {self.decision}")
        left = self.most_left()
        ahead = "" if left is None else f"   at most {duration(left)} left"
        lines.append(f"{duration(self.elapsed())} elapsed{ahead}   Ctrl-C ends it, keeping all")
        grid = Table.grid()
        for line in lines:
            grid.add_row(Text(line, no_wrap=True, overflow="ellipsis", style="cyan"))
        return grid

    def position(self) -> str:
        of = "" if self.max_steps is None else f" of {self.max_steps:,}"
        epoch = ""
        if self.evaluation is not None:  # a pass over many rows has several
            epoch = f"   epoch {self.evaluation.epoch:.2f}".rstrip("0").rstrip(".")
        return f"step {self.step:,}{of}{epoch}" if self.step else "compiling the first step"


def sizes_in_words(sizes: tuple[int, ...]) -> str:
    """`hidden sizes 9, 6`, or that there are none."""
    if not sizes:
        return "no hidden layer"
    return f"hidden size{'s' if len(sizes) > 1 else ''} {', '.join(map(str, sizes))}"


def _weakly(method: Callable[[], Table]) -> Callable[[], Table | str]:
    """The method without a hold on its object, which may then be let go."""
    reference = weakref.WeakMethod(method)

    def call() -> Table | str:
        alive = reference()
        return alive() if alive else ""

    return call
