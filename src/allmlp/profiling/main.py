"""`allmlp.profile`: prepare every model, then measure them in turns."""

# axes: b batch, c channels, h w pixels

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from allmlp.data.progress import watched
from allmlp.engine.cost import cost, parameters
from allmlp.engine.device import autocast, best_device, threads_used
from allmlp.engine.environment import environment
from allmlp.engine.load import ModelSource, several
from allmlp.engine.memory import free_bytes, peak_bytes, tensor_bytes
from allmlp.errors import AllmlpError, one_of
from allmlp.models.base import ImageModel
from allmlp.profiling.published import published
from allmlp.profiling.rows import Profile, Row
from allmlp.profiling.speed import faster_order, typical_seconds
from allmlp.profiling.subjects import Shape, Subject, subjects

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "bf16")


def profile(
    names: ModelSource | Sequence[ModelSource] = (),
    *,
    against: Sequence[str] = (),
    batch: int = 32,
    size: int | None = None,
    folded: bool = False,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
    rounds: int = 5,
    seconds: float = 0.5,
    quiet: bool = True,
) -> Profile:
    """Count and measure models side by side: all are in memory together and take turns, round by round.

    names: variants, shell patterns, run folders, runs, released checkpoints, models; one, or several.
    against: names in timm. Both may end in @SIZE.
    batch: images at a time for throughput and memory; latency is that of one image alone.
    size: pixels of a side; None is each model's own, and a run keeps its own. folded: add inference forms.
    device: "auto", "cpu" or "cuda". precision: "fp32" or "bf16". threads: of the CPU; None is torch's choice.
    rounds, seconds: in each round every model works for at least so long at `batch`, and again one image at a time.
    A model that fails has the reason in its row's `error`. Ctrl-C ends early with what there is.
    Raises ModelError and RunError for names that mean nothing, AllmlpError for other values that cannot be used.
    """
    _check(batch=batch, rounds=rounds, threads=1 if threads is None else threads, size=1 if size is None else size)
    if not seconds >= 0:
        raise AllmlpError(f"seconds is {seconds}", hint="give 0 or more")
    place = _device(device)
    if precision not in PRECISIONS:
        raise AllmlpError(f"precision is {precision!r}", hint=one_of(PRECISIONS, precision))
    found = subjects(several(names), against, size=size, folded=folded)
    if not found:
        raise AllmlpError("there is nothing to measure", hint="name a model, as in: allmlp profile resmlp_s12")
    rows = [Row(name=s.name, kind=s.kind, folded=s.folded, batch=batch, img_size=s.asked_size) for s in found]
    interrupted = False
    with threads_used(threads):
        about = environment(place, precision) | {"batch": batch, "rounds": rounds, "seconds": seconds}
        steps = _measure(list(zip(found, rows, strict=True)), place, precision, rounds, seconds)
        try:
            for _ in watched(steps, total=(1 + rounds) * len(rows), what="measuring", quiet=quiet):
                pass
        except KeyboardInterrupt:
            interrupted = True
    return Profile(rows, about, interrupted)


@dataclass(frozen=True)
class _Entry:
    """A model that is ready for its turns."""

    row: Row
    one: Callable[[], object]
    many: Callable[[], object]


def _measure(
    pairs: Sequence[tuple[Subject, Row]], device: torch.device, precision: str, rounds: int, seconds: float
) -> Iterator[None]:
    """Fill in the rows, one preparation or one turn a step.

    Who begins changes from round to round, so that nobody always follows the same model.
    """
    entries: list[_Entry | None] = []
    for subject, row in pairs:
        entries.append(None)
        with _reasons(row):
            entries[-1] = _prepared(subject, row, device, precision)
        yield
    for number in range(rounds):
        first = number % len(entries)
        for entry in entries[first:] + entries[:first]:
            if entry is not None and entry.row.error is None:
                with _reasons(entry.row):
                    _turn(entry, seconds, device)
            yield


def _prepared(subject: Subject, row: Row, device: torch.device, precision: str) -> _Entry:
    """Build, count, place and warm up one model, and measure its memory."""
    model, shape = subject.build()
    model.eval().requires_grad_(False)
    _count(row, model, shape)
    model.to(device)
    run = _runner(model, device, precision)
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    run(image)
    _refuse_too_much(peak_bytes(partial(run, image), device) + tensor_bytes([image]), row.batch, device)
    order = _placed(model, run, image.expand(row.batch, -1, -1, -1))
    row.channels_last = order is torch.channels_last
    images = image.repeat(row.batch, 1, 1, 1).contiguous(memory_format=order)
    held = tensor_bytes([*model.parameters(), *model.buffers(), images])
    row.peak_bytes = held + peak_bytes(partial(run, images), device)
    return _Entry(row, partial(run, images[:1]), partial(run, images))


def _count(row: Row, model: nn.Module, shape: Shape) -> None:
    row.img_size = shape[1:]
    row.published = None if row.folded else published(row.name, row.img_size)
    row.parameters = parameters(model)
    counted = cost(model, torch.zeros(1, *shape))
    row.macs, row.activations = counted.macs, counted.activations


def _runner(model: nn.Module, device: torch.device, precision: str) -> Callable[[Tensor], Tensor]:
    """The forward pass as allmlp makes it for answers."""

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:  # b c h w → b k
        with autocast(device, precision):
            return model(images)

    return run


def _placed(model: nn.Module, run: Callable[[Tensor], object], images: Tensor) -> torch.memory_format:
    """The memory order the model is fastest in: allmlp's families know theirs, for the others it is tried."""
    if not isinstance(model, ImageModel):
        return faster_order(run, model, images)
    order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
    model.to(memory_format=order)
    return order


def _turn(entry: _Entry, seconds: float, device: torch.device) -> None:
    """One model's share of a round. The untimed call brings its weights back after the others' turns."""
    entry.one()
    single = typical_seconds(entry.one, least=seconds, device=device)
    many = typical_seconds(entry.many, least=seconds, device=device)
    entry.row.single_seconds.append(single)
    entry.row.batch_seconds.append(many)


def _refuse_too_much(per_image: int, batch: int, device: torch.device) -> None:
    """A CPU's system would end the process, and all its results, where a GPU raises an error."""
    free = free_bytes() if device.type == "cpu" else None
    if free is not None and per_image * batch > free:
        raise AllmlpError(
            f"a batch of {batch} would take about {per_image * batch / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
        )


@contextmanager
def _reasons(row: Row) -> Iterator[None]:
    """Whatever a model or its library raises is that row's error, not everybody's."""
    try:
        yield
    except Exception as error:
        what = error.what if isinstance(error, AllmlpError) else str(error) or type(error).__name__
        row.error = what.strip().splitlines()[0][:200]
        row.batch_seconds.clear()
        row.single_seconds.clear()


def _device(name: str) -> torch.device:
    if name not in DEVICES:
        raise AllmlpError(f"device is {name!r}", hint=one_of(DEVICES, name))
    if name == "cuda" and not torch.cuda.is_available():
        raise AllmlpError("there is no CUDA device, or this torch cannot use it", hint="--device cpu")
    return best_device() if name == "auto" else torch.device(name)


def _check(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise AllmlpError(f"{name} is {value}", hint="give 1 or more")
