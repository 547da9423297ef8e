"""A scheduler's signals while there is nothing to save, and while there is."""

import os
import signal
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
