"""`allmlp.compile`: a model in the fastest form this machine can run it in."""

# axes: b images, c channels, h w pixels, k classes

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from allmlp.engine.backends.base import CPU, Runner
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.build import Built, built
from allmlp.engine.choice import Request
from allmlp.engine.device import threads_used
from allmlp.engine.load import ModelSource, load
from allmlp.engine.memory import give_back
from allmlp.engine.parity import Parity
from allmlp.engine.quantise import Calibration
from allmlp.engine.quantise import calibration as calibrated_by
from allmlp.errors import EngineError, one_of
from allmlp.models.base import ImageModel
from allmlp.nn.patches import check_image
from allmlp.pixels.preprocess import Preprocessing
from allmlp.weights.finite import refuse_not_finite

PRECISIONS = ("fp32", "bf16", "int8", "auto")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Engine:
    """A model to be called as the model is: images in, logits out, or features where it has no classes.

    It is in evaluation mode, keeps no gradients, and does not follow when the model's weights change.
    """

    backend: str
    precision: str
    batch: int
    threads: int
    device: torch.device
    """Where it computes and answers."""
    parity: Parity
    seconds_per_image: dict[str, float]
    """Of every backend that was measured when the choice was made, as "backend precision"; of none where nothing was."""
    from_disk: bool
    """Whether the choice, and the files it starts from, were kept from before."""
    name: str
    img_size: tuple[int, int]
    in_chans: int
    num_classes: int
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing
    run: Runner = field(repr=False)

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        """Logits in float32, on the engine's device. images: as the model takes them, on any device, of any floating-point
        type and any number.

        Raises ShapeError for images that do not fit the model, EngineError for numbers that are no fractions.
        """
        check_image(images, self.img_size, self.in_chans)
        if not images.is_floating_point():
            raise EngineError(
                f"images are of type {images.dtype}", hint="give what the model's preprocessing makes of pictures"
            )
        with torch.inference_mode(), threads_used(self.threads):
            # backends read their memory as it lies; at least one image goes through, so that none give an empty answer
            given = images if len(images) else images.new_zeros(1, *images.shape[1:])
            return self.run(given.detach().to(self.device).float().contiguous())[: len(images)]


def compile(  # noqa: A001 - the verb the rest of the world has for it
    model: ModelSource,
    *,
    precision: str = "auto",
    backend: str = "auto",
    batch: int = 32,
    threads: int | None = None,
    device: str | torch.device | None = None,
    calibration: Tensor | None = None,  # b c h w
    labels: Tensor | None = None,  # b
    keep: bool = True,
    quiet: bool = True,
) -> Engine:
    """The model in the fastest form this machine can run it in, compared with the model before it is handed out.

    model: a model, or whatever else `allmlp.load` takes.
    precision: "fp32"; "bf16"; "int8" (extra export, for CPUs); "auto" takes bf16 on CPUs that are far faster in it, for models
    of 256 channels or more, and on GPUs that have it. float32 on a GPU is float32, not TF32.
    backend: for CPUs "torch" (folded, laid out anew, products by oneDNN), "openvino" and "onnxruntime" (extras); for GPUs
    "cuda" (folded, laid out anew, recorded as CUDA graphs, with Triton kernels where they are faster); for both "eager" and
    "compile" (torch.compile, takes minutes to build); "auto" is "cuda" on a GPU, on a CPU
    "torch" where it has AVX-512 and "eager" elsewhere; where extras are installed they are measured beside it, once for a
    machine and a model, and the fastest is written down.
    batch: images there usually are at once; other numbers work, though some backends are made for one only.
    threads: of the CPU; None is torch's number.
    device: "cpu", "cuda", "cuda:1"; None is where the model is. The model may be on a CPU for an engine on a GPU.
    calibration: for int8, 64 or more real images as the model takes them, better 1,000; 300 at most set the ranges, and on the
    rest the engine must lose at most 0.5 points of top-1. labels: their classes' numbers; without them the loss is taken to
    be the share of images decided otherwise.
    keep: remember engines and choices on disk, in `engines` and `decisions` under $ALLMLP_HOME or the user's cache, by the
    weights' hash, the versions, the processor and the GPU. Without it nothing is measured: the usual backend is taken.
    quiet: no bar while building.
    In fp32 the logits are within 1e-4 of the model's, relative to their norm; `parity` says how near they are.
    Raises EngineError for a backend that is not here, does not compute what the model does, or cannot build it, and for an int8
    engine that loses too much, with the figure; WeightsError for weights that are not finite; ShapeError for calibration
    images of another size.
    """
    model = model if isinstance(model, ImageModel) else load(model)
    weight = next(model.parameters())
    place = _place(weight.device if device is None else device)
    if precision == "int8" and place.type != "cpu":
        raise EngineError(f"int8 is for CPUs, and answers come from {place} here", hint='use precision "bf16", or device="cpu"')
    shown = _calibration(model, precision, calibration, labels)
    request = _checked(precision, backend, batch, threads, place)
    request = request if shown is None else replace(request, calibration=shown.digest())
    if weight.device.type not in {"cpu", place.type} or weight.dtype != torch.float32:
        raise EngineError(
            f"the model is on {weight.device} in {weight.dtype}; engines start from float32 on the CPU, or on their own GPU",
            hint="give model.cpu().float(), or use the model as it is",
        )
    refuse_not_finite(model.state_dict(), model.name or model.family)
    with threads_used(request.threads):
        engine = _engine(model, request, built(model, request, shown=shown, kept=keep, quiet=quiet))
    give_back()  # candidates that were not chosen, and the copies they were made of
    return engine


def _place(device: str | torch.device) -> torch.device:
    """Raises EngineError for a device that is not there, or that no engine is for."""
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError):
        place = None
    if place is None or place.type not in DEVICES:
        raise EngineError(
            f"device is {str(device)!r}, and engines are for {' and '.join(DEVICES)}", hint='give "cpu" or "cuda"'
        )
    if place.type == "cpu":
        return CPU
    if not torch.cuda.is_available():
        raise EngineError("there is no CUDA device, or this torch cannot use it", hint='give device="cpu"')
    count = torch.cuda.device_count()
    number = torch.cuda.current_device() if place.index is None else place.index
    if number >= count:
        raise EngineError(f"device is {str(device)!r}, and CUDA devices here: {count}", hint=f"count from 0 to {count - 1}")
    return torch.device("cuda", number)


def _calibration(model: ImageModel, precision: str, images: Tensor | None, labels: Tensor | None) -> Calibration | None:
    if precision == "int8":
        return calibrated_by(model, images, labels)
    if images is not None or labels is not None:
        raise EngineError(f"calibration is for int8, and precision is {precision}", hint='give precision="int8", or no images')
    return None


def _checked(precision: str, backend: str, batch: int, threads: int | None, device: torch.device) -> Request:
    for what, given, known in (("precision", precision, PRECISIONS), ("engine", backend, ("auto", *BACKENDS))):
        if given not in known:
            raise EngineError(f"{what} is {given!r}", hint=one_of(known, given))
    threads = torch.get_num_threads() if threads is None else threads
    for what, count in (("batch", batch), ("threads", threads)):
        if count < 1:
            raise EngineError(f"{what} is {count}", hint="give 1 or more")
    return Request(precision=precision, backend=backend, batch=batch, threads=threads, device=device)


def _engine(model: ImageModel, request: Request, found: Built) -> Engine:
    return Engine(
        backend=found.backend,
        precision=found.precision,
        batch=request.batch,
        threads=request.threads,
        device=request.device,
        parity=found.parity,
        seconds_per_image=found.seconds,
        from_disk=found.from_disk,
        name=model.name,
        img_size=model.img_size,
        in_chans=model.in_chans,
        num_classes=model.num_classes,
        classes=model.classes,
        preprocessing=model.preprocessing,
        run=found.run,
    )
