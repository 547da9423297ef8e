"""`allmlp.profile`: counting, taking turns, and going on when a model cannot."""

from collections.abc import Callable

import pytest
import torch

from allmlp.errors import AllmlpError
from allmlp.profiling import main
from allmlp.profiling.main import profile

TINY = ["resmlp_xs", "mixer_xs", "smlpnet_xs"]
Timer = Callable[..., float]


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is made once and took one second."""

    def timed(call: Callable[[], object], **_: object) -> float:
        call()
        return 1.0

    monkeypatch.setattr(main, "typical_seconds", timed)


@pytest.mark.usefixtures("no_clock")
def test_a_row_holds_what_was_counted_and_each_round() -> None:
    (row,) = profile(["resmlp_xs"], batch=2, rounds=3).rows
    assert (row.parameters, row.img_size, row.channels_last, row.error) == (575_560, (32, 32), False, None)
    assert row.macs == pytest.approx(0.031e9, rel=0.02)
    assert row.batch_seconds == row.single_seconds == [1.0] * 3
    assert (row.images_per_s, row.ms) == (2.0, 1000.0)


@pytest.mark.usefixtures("no_clock")
def test_peak_memory_is_weights_images_and_the_widest_moment() -> None:
    """Inside a block's MLP: what entered the block, what its token half made of it, that after the Affine, and the
    hidden layer before and after the nonlinearity."""
    (row,) = profile(["resmlp_xs"], batch=16, rounds=1).rows
    tokens, dim = 64, 96
    images, stream, hidden = 3 * 32 * 32, tokens * dim, tokens * 4 * dim
    assert row.peak_bytes == 4 * (575_560 + 16 * (images + 3 * stream + 2 * hidden))


def test_models_take_turns_and_another_begins_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr(main, "_turn", lambda entry, seconds, device: turns.append(entry.row.name))
    profile(TINY, batch=1, rounds=4)
    a, b, c = TINY
    assert turns == [a, b, c, b, c, a, c, a, b, a, b, c]


@pytest.mark.usefixtures("no_clock")
def test_a_model_that_cannot_be_built_is_a_row_with_the_reason() -> None:
    broken, whole = profile(["resmlp_s12@225", "resmlp_xs"], batch=1, rounds=1).rows
    assert broken.error is not None
    assert "225" in broken.error
    assert (broken.images_per_s, broken.img_size) == (None, (225, 225))
    assert (whole.error, whole.images_per_s) == (None, 1.0)


def test_a_model_that_runs_out_of_memory_in_a_round_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def timed(call: Callable[[], object], **_: object) -> float:
        nonlocal calls
        calls += 1
        if calls == 6:  # the second model's latency in the second round
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return 1.0

    monkeypatch.setattr(main, "typical_seconds", timed)
    first, second = profile(["resmlp_xs", "mixer_xs"], batch=1, rounds=3).rows
    assert (second.error, first.error) in [("CUDA out of memory.", None), (None, "CUDA out of memory.")]
    failed, whole = (first, second) if first.error else (second, first)
    assert failed.images_per_s is None
    assert len(whole.batch_seconds) == 3


def test_a_batch_that_would_fill_the_machine_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "free_bytes", lambda: 10 * 2**20)
    (row,) = profile(["resmlp_xs"], batch=1000, rounds=1).rows
    assert row.error is not None
    assert "a batch of 1000 would take about" in row.error
    assert row.macs is not None
    assert row.peak_bytes is None


def test_interrupting_keeps_the_rounds_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def timed(call: Callable[[], object], **_: object) -> float:
        nonlocal calls
        calls += 1
        if calls == 4:  # after the first model's turn, in the middle of the second's
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr(main, "typical_seconds", timed)
    found = profile(["resmlp_xs", "mixer_xs"], batch=1, rounds=2)
    assert found.interrupted
    assert [len(row.batch_seconds) for row in found.rows] == [1, 0]
    assert [len(row.single_seconds) for row in found.rows] == [1, 0]
    assert all(row.parameters for row in found.rows)


@pytest.mark.usefixtures("no_clock")
def test_the_number_of_threads_is_written_down_and_put_back() -> None:
    before = torch.get_num_threads()
    found = profile(["resmlp_xs"], batch=1, rounds=1, threads=before + 1, precision="bf16")
    assert found.environment["threads"] == before + 1
    assert found.environment["precision"] == "bf16"
    assert found.rows[0].error is None
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("no_clock")
def test_others_are_measured_in_the_same_turns() -> None:
    ours, theirs = profile(["resmlp_xs"], against=["test_resnet@64"], batch=2, rounds=1).rows
    assert (ours.kind, theirs.kind, theirs.img_size) == ("allmlp", "timm", (64, 64))
    assert isinstance(theirs.channels_last, bool)
    assert ours.images_per_s == theirs.images_per_s == 2.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (dict(batch=0), "batch is 0"),
        (dict(rounds=0), "rounds is 0"),
        (dict(size=0), "size is 0"),
        (dict(threads=0), "threads is 0"),
        (dict(seconds=-1.0), "seconds is -1.0"),
        (dict(seconds=float("nan")), "seconds is nan"),
        (dict(device="gpu"), "device is 'gpu'"),
        (dict(precision="fp16"), "precision is 'fp16'"),
        (dict(names=[]), "there is nothing to measure"),
    ],
)
def test_values_that_cannot_be_used_are_explained(values: dict[str, object], said: str) -> None:
    with pytest.raises(AllmlpError) as error:
        profile(**{"names": ["resmlp_xs"], **values})  # type: ignore[arg-type]
    assert said in error.value.what
    assert error.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_said_at_once() -> None:
    with pytest.raises(AllmlpError, match="no CUDA device"):
        profile(["resmlp_xs"], device="cuda")


@pytest.mark.slow
def test_resmlps_peak_memory_is_the_articles() -> None:
    """The article's 179.5 MB was a V100's, at batch 32 too; what torch holds is the same, but for workspaces."""
    (row,) = profile(["resmlp_s12"], batch=32, rounds=1, seconds=0).rows
    assert row.peak_bytes is not None
    assert row.peak_bytes / 2**20 == pytest.approx(179.5, rel=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_measured_too() -> None:
    (row,) = profile(["resmlp_xs"], batch=4, rounds=2, seconds=0, device="cuda").rows
    assert row.error is None
    assert row.images_per_s is not None
    assert row.peak_bytes is not None
    assert row.peak_bytes > 4 * 575_560
