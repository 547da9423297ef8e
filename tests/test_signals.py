"""A scheduler's signals while there is nothing to save, and while there is."""

import os
import signal
import threading
import time

import pytest

import allmlp.commands.train
from allmlp.cli import main
from allmlp.signals import Leave, leaving
from allmlp.training.interrupt import Interrupt


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_ends_the_block_and_the_handler_is_put_back(name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with pytest.raises(Leave) as left, leaving(for_good=False):
        signal.raise_signal(number)
    assert left.value.name == name
    assert signal.getsignal(number) is before


def terminated_in_a_lock() -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        threading.Lock().release()  # RuntimeError: what threading says where the signal came between two of its moves


def test_a_lock_that_the_signal_left_open_is_not_what_is_told() -> None:
    with pytest.raises(Leave) as left, leaving(for_good=False):
        terminated_in_a_lock()
    assert left.value.name == "SIGTERM"


class Terminated:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_came_in_a_destructor_is_answered_by_the_loop() -> None:
    with leaving(for_good=False):
        Terminated()
        with Interrupt() as interrupt:
            assert interrupt.signal is signal.SIGTERM
    with Interrupt() as interrupt:
        assert not interrupt.caught


def test_no_handler_of_errors_keeps_it() -> None:
    assert not issubclass(Leave, Exception)


def test_the_loop_answers_for_itself() -> None:
    with leaving(for_good=False), Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert interrupt.signal is signal.SIGTERM


def test_a_command_that_has_nothing_to_save_leaves_with_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(allmlp.commands.train, "main", lambda _: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(5))
    assert main(["train"]) == 0
    assert "SIGTERM: nothing was left to save" in capsys.readouterr().err
