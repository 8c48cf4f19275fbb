import os
import signal
import threading

import pytest

from senn.stopping import SIGNALS, GracefulStop, LeftAtOnceError


@pytest.fixture(autouse=True)
def heard():
    """As on a terminal; in the background Python may have been told to ignore Ctrl-C."""
    before = {s: signal.signal(s, signal.default_int_handler) for s in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_waits_for_a_pause_and_the_second_does_not(first, second):
    seen = []
    stop = GracefulStop(seen.append)
    with stop.listening():
        stop.on_pause("before")
        os.kill(os.getpid(), first)
        assert seen == []
        with pytest.raises(KeyboardInterrupt):
            stop.on_pause("state")
        assert seen == ["state"]
        with pytest.raises(LeftAtOnceError):
            os.kill(os.getpid(), second)
    assert signal.getsignal(first) is signal.default_int_handler


def test_without_a_last_act_it_stops_all_the_same():
    stop = GracefulStop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        stop.on_pause("state")


def test_signals_that_are_ignored_stay_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = GracefulStop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    stop.on_pause("state")


def test_in_other_threads_signals_are_left_alone():
    seen = []

    def listen():
        with GracefulStop().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
