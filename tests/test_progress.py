import copy
import gc
import io
import pickle
import re
from dataclasses import fields

import pytest
from rich.console import Console

from senn.callbacks.progress import Progress, sizes_in_words
from senn.history import Addition, Consideration, Evaluation, History, Recovery

REASON = "hidden layer 0: gains 6.88% of λ a unit (α 0.10%)"


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def evaluation(step: int, score: float | None = 0.9) -> Evaluation:
    return Evaluation(step, step / 10, 1.0, 0.5, 0.4, score, 0.1, 30.0, (4, 2), 1234)


def addition(step: int, units: int = 1) -> Addition:
    return Addition(
        step, "width", 0, "hidden layer 0", units, 0.1, 0.01, 1.0, 1.0, (5, 2), 1300, REASON, 3.0
    )


def consideration(step: int, *, accepted: bool) -> Consideration:
    given = {"step": step, "kind": "width", "accepted": accepted, "reason": REASON}
    rest = {f.name: f.type() for f in fields(Consideration) if f.name not in given}
    return Consideration(**given, **rest)


def plain(**settings) -> tuple[Progress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Progress(Console(file=stream), clock=clock, **settings), stream, clock


def live(**settings) -> tuple[Progress, Console, Clock]:
    console = Console(
        file=io.StringIO(), force_terminal=True, width=120, _environ={"TERM": "xterm"}
    )
    clock = Clock()
    return Progress(console, clock=clock, **settings), console, clock


def status(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=120)
    assert progress._view is not None
    console.print(progress._view.status())
    return console.file.getvalue()


def test_a_log_has_a_line_for_every_addition_and_recovery_and_the_end():
    progress, stream, clock = plain(score="accuracy")
    progress.on_start(None)
    progress.on_steps(30, 0.75)
    progress.on_evaluation(evaluation(30))
    progress.on_addition(addition(30))
    progress.on_addition(addition(60, units=4))
    progress.on_recovery(Recovery(60, 0.1, "the loss was not finite"))
    clock.now = 75
    progress.on_stop(History(steps=90, stop_reason="90 steps done"))
    assert stream.getvalue().splitlines() == [
        "step 30: eval: loss 0.75, validation accuracy 0.9000, hidden sizes 4, 2, "
        "1,234 parameters, 0.0 s",
        f"step 30: grew: by 1 unit to hidden sizes 5, 2, 1,300 parameters; {REASON}",
        f"step 60: grew: by 4 units to hidden sizes 5, 2, 1,300 parameters; {REASON}",
        "step 60: back: the loss was not finite; the learning rate is 0.1 of what it was",
        "step 90: stop: 90 steps done, after 75 s",
    ]


def test_evaluations_and_refusals_appear_in_a_log_every_few_seconds():
    progress, stream, clock = plain(every=5.0)
    progress.on_start(None)
    for second in range(12):
        clock.now = float(second)
        progress.on_steps(second + 1, 0.5)
        progress.on_evaluation(evaluation(second + 1))
        progress.on_considerations([consideration(second + 1, accepted=False)], "too little")
        progress.on_considerations([consideration(second + 1, accepted=True)], "accepted")
    said = re.findall(r"step (\d+): (\w+)", stream.getvalue())
    assert said == [(step, what) for step in ("1", "6", "11") for what in ("eval", "kept")]
    assert "accepted" not in stream.getvalue()  # the addition says so itself


def test_long_lines_are_not_broken_in_a_log():
    progress, stream, _ = plain()
    progress.on_start(None)
    progress.on_considerations([], "word " * 100)
    assert len(stream.getvalue().splitlines()) == 1


def test_without_validation_no_score_is_shown():
    progress, stream, _ = plain()
    progress.on_start(None)
    progress.on_evaluation(evaluation(30, score=None))
    assert "validation" not in stream.getvalue()


def test_a_terminal_shows_what_goes_on():
    progress, console, clock = live(score="R²", max_seconds=100.0)
    progress.on_start(1000)
    assert "compiling" in status(progress)
    clock.now = 10.0
    progress.on_steps(250, 0.25)
    progress.on_evaluation(evaluation(250))
    progress.on_addition(addition(250))
    text = status(progress)
    for part in ("step 250 of 1,000", "epoch 25", "loss 0.25", "validation R² 0.9000",
                 "hidden sizes 5, 2", "1,300 parameters", "1 unit added at step 250", REASON,
                 "10 s elapsed", "at most 30 s left"):  # fmt: skip
        assert part in text
    progress.on_considerations([consideration(260, accepted=False)], "too little")
    assert "nothing to add: too little" in status(progress)
    progress.on_stop(History(steps=1000, stop_reason="1000 steps done"))
    written = console.file.getvalue()
    for part in ("grew", "kept", "too little", "1000 steps done"):
        assert part in written


@pytest.mark.parametrize(
    ("max_steps", "max_seconds", "left"),
    [(None, None, None), (100, None, 90), (None, 50.0, 40), (100, 50.0, 40), (20, 50.0, 10)],
)
def test_time_left_is_told_only_when_an_end_is_known(max_steps, max_seconds, left):
    progress, _, clock = live(max_seconds=max_seconds)
    progress.on_start(max_steps)
    clock.now = 10.0
    progress.on_steps(10, 0.5)
    text = status(progress)
    progress.close()
    assert (f"at most {left} s left" in text) if left else ("left" not in text)


def test_the_status_never_wraps():
    progress, _, _ = live()
    progress.on_start(None)
    progress.on_considerations([], "word " * 100)
    assert len(status(progress).splitlines()) == 3
    progress.close()


def cursor_shown(console: Console) -> bool:
    written = console.file.getvalue()
    return written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")


def test_the_terminal_is_clean_after_the_end():
    progress, console, _ = live()
    progress.on_start(None)
    assert not cursor_shown(console)
    progress.on_stop(History(stop_reason="interrupted"))
    assert cursor_shown(console)


def test_the_terminal_is_clean_when_nobody_says_that_training_ended():
    progress, console, _ = live()
    progress.on_start(None)
    del progress
    gc.collect()
    assert cursor_shown(console)


def test_it_can_be_used_again_and_closed_twice():
    progress, stream, _ = plain()
    for _ in range(2):
        progress.on_start(None)
        progress.on_stop(History(stop_reason="done"))
        progress.close()
    assert stream.getvalue().count("stop: done") == 2


def test_hooks_out_of_turn_do_no_harm():
    progress, stream, _ = plain()
    progress.on_steps(1, 0.5)
    progress.on_evaluation(evaluation(1))
    progress.on_considerations([], "too little")
    progress.on_addition(addition(1))
    progress.on_recovery(Recovery(1, 0.1, "not finite"))
    progress.on_stop(History())
    assert stream.getvalue() == ""


def test_it_writes_to_standard_error_by_default(capsys):
    progress = Progress()
    progress.on_start(None)
    progress.on_stop(History(stop_reason="done"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "stop: done" in err


def test_it_can_be_copied_and_pickled():
    progress = Progress(score="accuracy", max_seconds=3.0)
    progress.on_start(None)
    progress.close()
    for again in (copy.deepcopy(progress), pickle.loads(pickle.dumps(progress))):
        assert (again.score, again.max_seconds) == ("accuracy", 3.0)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [((), "no hidden layer"), ((4,), "hidden size 4"), ((4, 2), "hidden sizes 4, 2")],
)
def test_sizes_in_words(sizes, words):
    assert sizes_in_words(sizes) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(5.24, "5.2 s"), (75, "75 s"), (245, "4:05 min"), (7440, "2:04 h")]
)
def test_durations(seconds, words):
    progress, stream, clock = plain()
    progress.on_start(None)
    clock.now = seconds
    progress.on_stop(History(stop_reason="done"))
    assert stream.getvalue().endswith(f"after {words}\n")
