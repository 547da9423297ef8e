"""A teacher's name → the network, how it wants its images, and what its outputs are called."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_data_config
from timm.models import load_state_dict
from torch import Tensor, nn

from allmlp.engine.load import load
from allmlp.errors import AllmlpError, RecipeError, WeightsError, one_of
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Distill
from allmlp.released.classes import CIFAR10
from allmlp.released.table import released
from allmlp.run import read_json
from allmlp.surgery.fold import fold
from allmlp.timm_names import names_of_timm
from allmlp.training.distillation import cifar_resnet
from allmlp.weights.files import check_file
from allmlp.weights.finite import refuse_not_finite

PROGRAMS = (".pt2", ".pt", ".pth", ".th", ".bin", ".pkl", ".jit", ".onnx", ".tar")
"""Suffixes of files that hold a program, or weights without one."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A trained network of any kind."""

    title: str
    net: nn.Module  # b c h w → b k
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None
    """Of its outputs, in order; None where nothing names them."""

    @property
    def channels_last(self) -> bool:
        """Whether it has convolutions over more than patches, which run faster with channels innermost."""
        convolutions = (m for m in self.net.modules() if isinstance(m, nn.Conv2d))
        return any(m.kernel_size != (1, 1) and m.kernel_size != m.stride for m in convolutions)


def open_teacher(distill: Distill) -> Opened:
    """The teacher that a recipe names, in evaluation mode.

    An allmlp run folder or .safetensors; a released checkpoint's name; a ResNet for CIFAR; any architecture of timm's, with
    `teacher_weights` or with the weights timm fetches. Beside `teacher_weights` a .json of the same name may say "classes"
    and "preprocessing".
    No file is unpickled. Raises RecipeError for a name nobody knows, RunError and WeightsError for files that do not do.
    """
    name, weights = distill.teacher or "", distill.teacher_weights
    path = Path(name).expanduser()
    if path.is_dir() or path.suffix == ".safetensors":
        opened = _ours(str(path))
    elif name in released():
        opened = _ours(name)
    elif path.suffix in PROGRAMS:
        raise RecipeError(f"{name} cannot be a teacher: {_why_not(path)}", hint=_instead(path))
    elif name in cifar_resnet.DEPTHS:
        opened = _cifar(name, weights)
    elif timm.is_model(name.partition(".")[0]) or name.startswith(("hf-hub:", "hf_hub:")):
        opened = _of_timm(name, weights) if weights is not None else _fetched(name)
    else:
        known = [*cifar_resnet.DEPTHS, *released(), *names_of_timm()]
        raise RecipeError(f"there is no teacher {name!r}: no run, no file, and no name of timm's", hint=one_of(known, name))
    size = distill.img_size or opened.preprocessing.img_size
    hint = "give a whole file of its weights: copy or fetch it again, or take an earlier checkpoint of the teacher's training"
    refuse_not_finite(opened.net.state_dict(), f"the teacher {opened.title}", hint=hint)
    opened.net.eval().requires_grad_(False)
    return replace(opened, preprocessing=replace(opened.preprocessing, img_size=size))


def located(distill: Distill) -> Distill:
    """With whole paths, so that a run can be resumed from anywhere."""
    paths = {name: getattr(distill, name) for name in ("teacher", "teacher_weights", "cache_folder")}
    whole = {name: str(Path(path).expanduser().resolve()) for name, path in paths.items() if path and _is_path(name, path)}
    return replace(distill, **whole)  # type: ignore[arg-type]


def _is_path(field: str, text: str) -> bool:
    return field != "teacher" or Path(text).expanduser().exists()


def _ours(source: str) -> Opened:
    model = load(source)
    return Opened(title=source, net=fold(model), preprocessing=model.preprocessing, classes=model.classes)


def _why_not(path: Path) -> str:
    if path.suffix in (".pt2", ".jit", ".pkl"):
        return "loading a program from a file can run any code (torch.export.load unpickles)"
    return "weights do not say which network they belong to" if path.suffix != ".onnx" else "ONNX files are not read"


def _instead(path: Path) -> str:
    return f"give the architecture and its weights: --teacher resnet50 --distill.teacher-weights {path.stem}.safetensors, say"


def _cifar(name: str, weights: str | None) -> Opened:
    if weights is None:
        raise RecipeError(f"{name} needs its weights", hint="give their file as --distill.teacher-weights FILE")
    tensors = _tensors(weights)
    net = cifar_resnet.CifarResNet(cifar_resnet.DEPTHS[name], len(tensors.get("linear.bias", range(10))))
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise _misfit(weights, name, error) from None
    classes = CIFAR10 if net.linear.out_features == 10 else None
    return _as_the_card_says(Opened(title=name, net=net, preprocessing=cifar_resnet.PREPROCESSING, classes=classes), weights)


def _of_timm(name: str, weights: str) -> Opened:
    """An architecture of timm's with weights from a file, which timm converts where they are in another layout."""
    config = timm.get_pretrained_cfg(name.partition(".")[0])
    head = getattr(config, "classifier", None)
    heads = (head,) if isinstance(head, str) else tuple(head or ())
    tensors = _tensors(weights)
    found = next((tensors[f"{h}.{part}"] for h in heads for part in ("bias", "weight") if f"{h}.{part}" in tensors), None)
    values: dict[str, Any] = {} if found is None else {"num_classes": len(found)}
    try:
        net = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": os.fspath(weights), **values}, **values)
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        raise _misfit(weights, name, error) from None
    return _as_the_card_says(_described(name, net), weights)


def _fetched(name: str) -> Opened:
    """An architecture of timm's with the weights timm has an address for."""
    try:
        net = timm.create_model(name, pretrained=True)
    except Exception as error:  # networks and hubs fail in many ways
        config = timm.get_pretrained_cfg(name) if ":" not in name else None
        where = (config and (config.hf_hub_id or config.url)) or name
        raise WeightsError(
            f"the weights of {name} could not be fetched: {_first_line(error)}",
            hint=f"where there is a network, fetch {where}, and give the file as --distill.teacher-weights FILE",
        ) from None
    return _described(name, net)


def _described(name: str, net: nn.Module) -> Opened:
    """With timm's own words about size, colours and classes."""
    config = resolve_data_config(model=net)
    chans, height, width = config["input_size"]
    mode = config["interpolation"]
    preprocessing = Preprocessing(
        img_size=(height, width),
        in_chans=chans,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_ratio=config["crop_pct"],
        interpolation=mode if mode in ("bilinear", "lanczos") else "bicubic",
    )
    names = net.pretrained_cfg.get("label_names")  # type: ignore[union-attr,operator]
    subset = infer_imagenet_subset(net)
    if names is None and subset is not None:
        names = ImageNetInfo(subset).label_names()
    return Opened(title=name, net=net, preprocessing=preprocessing, classes=tuple(names) if names else None)


def _as_the_card_says(opened: Opened, weights: str) -> Opened:
    """With what the JSON beside the weights says about classes and preprocessing, where there is one."""
    path = Path(weights).with_suffix(".json")
    if not path.is_file():
        return opened
    card = read_json(path)
    classes = card.get("classes") if isinstance(card, dict) else None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise WeightsError(
            f"{path} does not name the teacher's classes", hint='write {"classes": ["cat", "dog"]}, in its order'
        )
    try:
        said = {**opened.preprocessing.to_dict(), **card.get("preprocessing", {})}
        return replace(opened, classes=tuple(classes), preprocessing=Preprocessing.from_dict(said))
    except (AllmlpError, TypeError) as error:
        raise WeightsError(
            f"{path}: preprocessing is not understood: {_first_line(error)}", hint="see README, Distillation"
        ) from None


def _tensors(weights: str) -> dict[str, Tensor]:
    if not Path(weights).is_file():
        raise WeightsError(f"{weights} is not a file", hint="give the teacher's weights as --distill.teacher-weights FILE")
    try:
        check_file(Path(weights))
        return load_state_dict(weights, device="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        raise WeightsError(
            f"{weights} cannot be read as weights: {_first_line(error)}",
            hint="give tensors alone (safetensors, or .pth of them)",
        ) from None


def _misfit(weights: str, name: str, error: Exception) -> WeightsError:
    return WeightsError(
        f"{weights} does not fit {name}: {_first_line(error)}", hint="name the architecture that these weights belong to"
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else type(error).__name__
