"""Ctrl-C and SIGTERM: raised, held, never lost and never taken from others. Real signals, sent to this process."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from idaq.core import interrupts
from idaq.core.interrupts import Terminated, interrupts_held, interrupts_raised

RAISED = {signal.SIGTERM: Terminated, signal.SIGINT: KeyboardInterrupt}


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a program that was started by hand; and afterwards as before."""
    before = {number: signal.getsignal(number) for number in RAISED}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(interrupts, "_ECHO", 0.0)
    monkeypatch.setattr(interrupts._INTERRUPTS, "_last", -math.inf)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", RAISED)
def test_a_signal_is_an_exception_for_as_long_as_asked(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(RAISED[number]) as caught, interrupts_raised():
        send(number)
    assert type(caught.value) is RAISED[number]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", RAISED)
def test_a_held_signal_lets_the_block_end_first(number: signal.Signals) -> None:
    seen = list[bool]()

    def work() -> None:
        with interrupts_held() as interrupted:
            seen.append(interrupted())
            send(number)
            seen.append(interrupted())

    with pytest.raises(RAISED[number]):
        work()
    assert seen == [False, True]
    with interrupts_held() as interrupted:
        assert not interrupted()


def test_the_second_signal_is_not_held() -> None:
    seen = list[bool]()

    def work() -> None:
        with interrupts_held() as interrupted:
            send(signal.SIGINT)
            seen.append(interrupted())
            send(signal.SIGTERM)
            seen.append(interrupted())

    with pytest.raises(Terminated):
        work()
    assert seen == [True]


def test_a_signal_sent_twice_at_once_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As timeout(1) does."""
    monkeypatch.setattr(interrupts, "_ECHO", 30.0)
    left = list[str]()

    def work() -> None:
        with interrupts_raised():
            try:
                send(signal.SIGTERM)
            finally:
                send(signal.SIGTERM)
                left.append("in peace")

    with pytest.raises(Terminated):
        work()
    assert left


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda _number, _frame: None])
def test_what_others_handle_or_ignore_is_theirs(theirs: signal.Handlers) -> None:
    for number in RAISED:
        signal.signal(number, theirs)
    with interrupts_held() as interrupted:
        for number in RAISED:
            send(number)
        assert not interrupted()
    assert all(signal.getsignal(number) is theirs for number in RAISED)


class Noisy:
    def __del__(self) -> None:
        send(signal.SIGTERM)
        time.sleep(0.001)  # somewhere in here it is raised, and Python drops it


def test_an_interrupt_that_python_drops_comes_again() -> None:
    def work() -> None:
        with interrupts_raised():
            Noisy()
            time.sleep(5)

    with pytest.raises(Terminated):
        work()


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with interrupts_held() as interrupted:
            seen.extend([signal.getsignal(signal.SIGTERM), interrupted()])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, False]
