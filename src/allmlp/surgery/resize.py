"""A trained model for images of another size: its token-mixing maps are carried from the old grid to the new one.

A map A along the tokens becomes U A D: D reads the new grid as the old one, A mixes as it was trained to, and U
puts the result on the new grid. The rows of D and U sum to 1, so that what all tokens share keeps its strength.
"""

# axes: n tokens, y x rows and columns of the grid, s sets of channels, h hidden units

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models import eamlp, ffonly, mixer, raftmlp, repmlpnet, resmlp
from allmlp.models.arguments import choice, image_size
from allmlp.models.base import ImageModel
from allmlp.models.pyramid import Pyramid
from allmlp.nn.lowrank import LowRank, LowRankAlongColumns, LowRankAlongRows, LowRankAlongTokens
from allmlp.nn.mixing import AlongColumns, AlongRows, AlongTokens
from allmlp.nn.mlp import Mlp, TokenMlp
from allmlp.nn.patches import Patches
from allmlp.nn.segments import SegmentsAlongColumns, SegmentsAlongRows
from allmlp.surgery.resample import KERNELS, Resample, magnified

METHODS = ("interpolate", "block_diagonal")
PATCHES = ("magnified", "same")


@dataclass(frozen=True)
class Change:
    """From which grid to which, and how. The grids are those of models whose tokens keep their number."""

    old: tuple[int, int]
    new: tuple[int, int]
    kernel: str
    scales: tuple[float, float]
    """How much larger each patch draws what it sees, down and across."""

    def tokens(self) -> Resample:
        return Resample.between(self.old, self.new, self.kernel)

    def axis(self, old: int, new: int) -> Resample:
        return Resample.between((old,), (new,), self.kernel)


Rule = Callable[[Any, Any, Change], dict[str, Tensor]]
"""(old module, new module, change) → those of its tensors that depend on the grid, by name."""


def resize(
    model: ImageModel,
    img_size: int | tuple[int, int],
    method: str = "interpolate",
    *,
    kernel: str | None = None,
    patches: str | None = None,
) -> ImageModel:
    """A copy of a model for images of `img_size`: (height, width) in pixels, or one number for both sides.

    method: "interpolate" for any grid, or "block_diagonal" for a Mixer at integer multiples of its size: each tile of
    the image is then mixed as a whole image was (MLP-Mixer, appendix C). kernel: how values go from grid to grid, "copy",
    "area", "bilinear" or "bicubic"; the one that lost least unless given (docs/decisions/0005): "copy", or "bicubic" where
    the grid shrinks from stage to stage. patches: "magnified" lets each patch of a larger picture see as much of it as
    before, in squares that then overlap, which loses least and is the default for Mixer, ResMLP, gMLP and FF-only when
    interpolated; "same" keeps the patches of the papers, as all others must. The size the model has gives an equal copy.
    At integer factors upwards "copy" and "area" keep what a model without padding makes of a constant image. Classes and
    preprocessing are kept. Raises ModelError for a size that the family cannot have, and for folded models.
    """
    planned = plan(model, img_size, method, kernel=kernel, patches=patches)
    with torch.no_grad():
        tensors = {name: tensor.clone() for name, tensor in planned.tensors(model).items()}
    resized = planned.shape
    resized.load_state_dict(tensors, assign=True)
    for new_parameter, old_parameter in zip(resized.parameters(), model.parameters(), strict=True):
        new_parameter.requires_grad_(old_parameter.requires_grad)
    resized.name, resized.classes = model.name, model.classes
    resized.preprocessing = model.preprocessing.fit(img_size=resized.img_size, in_chans=resized.in_chans)
    return resized.train(model.training)


@dataclass(frozen=True)
class Resizing:
    """How a model's tensors become those of the same architecture at another size."""

    shape: ImageModel
    """That of the other size; its weights are on the meta device."""
    rules: Mapping[type[nn.Module], Rule]
    change: Change

    def tensors(self, model: ImageModel) -> dict[str, Tensor]:
        """Parameters and buffers at the other size, by name: linear in the model's own, to which gradients go back. Those that
        do not depend on the size are the model's own."""
        tensors = dict(model.state_dict(keep_vars=True))
        olds = dict(model.named_modules())
        for name, new in self.shape.named_modules():
            rule = self.rules.get(type(new))
            changed = rule(olds[name], new, self.change) if rule is not None else {}
            tensors.update({f"{name}.{key}".removeprefix("."): tensor for key, tensor in changed.items()})
        return tensors


def plan(
    model: ImageModel,
    img_size: int | tuple[int, int],
    method: str = "interpolate",
    *,
    kernel: str | None = None,
    patches: str | None = None,
) -> Resizing:
    """What `resize` does, for a model of these shapes. Raises as that does."""
    choice("method", method, METHODS)
    kernel = (
        ("bicubic" if isinstance(model, Pyramid) else "copy") if kernel is None else choice("kernel", kernel, list(KERNELS))
    )
    if method == "interpolate":
        rules, widths = INTERPOLATE, _hidden_widths(model)
    else:
        rules, widths = BLOCK_DIAGONAL, _tiled_widths(model, img_size)
    scales = _scales(model, img_size) if _magnifies(model, method, patches) else (1.0, 1.0)
    if scales != (1.0, 1.0):
        widths = {**widths, "patch_margin": _margin(model, scales)}
    with torch.device("meta"):
        resized = type(model)(**{**model.hyperparameters, **widths, "img_size": img_size})
        if model.state_dict().keys() != resized.state_dict().keys():
            raise ModelError("this model is folded, which fixes its size", hint="resize the model, then fold the result")
    change = Change(getattr(model, "grid", (0, 0)), getattr(resized, "grid", (0, 0)), kernel, scales)
    return Resizing(resized, rules, change)


def _magnifies(model: ImageModel, method: str, patches: str | None) -> bool:
    able = isinstance(getattr(model, "patches", None), Patches) and method == "interpolate"
    if patches is None:
        return able
    if choice("patches", patches, PATCHES) == "magnified" and not able:
        raise ModelError(
            f'patches="magnified" is for Mixer, ResMLP, gMLP and FF-only, interpolated; this is {model.family}, {method}',
            hint='use patches="same"',
        )
    return patches == "magnified"


def _scales(model: ImageModel, img_size: int | tuple[int, int]) -> tuple[float, float]:
    """How much larger each patch has to see, down and across; no patch comes to see less than its own square."""
    old: Any = model.patches
    sides = zip(image_size(img_size, old.patch_size), model.img_size, old.proj.kernel_size, strict=True)
    vertical, horizontal = (max(new / now, old.patch_size / kernel) for new, now, kernel in sides)
    return vertical, horizontal


def _margin(model: ImageModel, scales: tuple[float, float]) -> tuple[int, int]:
    """Pixels beyond each edge of a patch, so that what it sees has room."""
    old: Any = model.patches
    kernels = zip(scales, old.proj.kernel_size, strict=True)
    vertical, horizontal = (ceil((scale * kernel - old.patch_size) / 2 - 1e-9) for scale, kernel in kernels)
    return vertical, horizontal


def _hidden_widths(model: ImageModel) -> dict[str, Any]:
    """Hyper-parameters that keep hidden widths as they are where the family ties them to the number of tokens."""
    if isinstance(model, ffonly.FFOnly) or (isinstance(model, resmlp.ResMLP) and model.token_mixing == "mlp"):
        block: Any = model.blocks[0]
        mlp = block.token_mlp if isinstance(model, ffonly.FFOnly) else block.token_mix
        return {"token_hidden": mlp.fc1.out_features}
    if isinstance(model, raftmlp.RaftMLP):
        first: list[Any] = [stage.blocks[0] for stage in model.stages]  # type: ignore[index]
        return {"token_hidden": [(b.vertical.mlp.fc1.out_features, b.horizontal.mlp.fc1.out_features) for b in first]}
    return {}


def _along(maps: Resample, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:  # n n, n
    """A linear map from the positions to the positions."""
    found = {"weight": maps.outputs(maps.inputs(weight))}
    return found if bias is None else {**found, "bias": maps.outputs(bias)}


def _patches(old: Patches, new: Patches, change: Change) -> dict[str, Tensor]:
    sides = zip(old.proj.kernel_size, new.proj.kernel_size, change.scales, strict=True)
    down, across = (magnified(*side).to(old.proj.weight.device) for side in sides)
    return {"proj.weight": (down.T @ old.proj.weight.double() @ across).to(old.proj.weight.dtype)}


def _along_tokens(old: AlongTokens, new: AlongTokens, change: Change) -> dict[str, Tensor]:
    maps = change.tokens()
    if old.out_features == 1 and old.in_features == prod(change.old) + 1:  # class-MLP's row
        return {"weight": maps.after_class().inputs(old.weight)}
    return _along(maps, old.weight, old.bias)


def _along_axis(old: nn.Linear, new: nn.Linear, change: Change) -> dict[str, Tensor]:
    return _along(change.axis(old.in_features, new.in_features), old.weight, old.bias)


def _factors_along_tokens(old: LowRank, new: LowRank, change: Change) -> dict[str, Tensor]:
    return {**_entering(change.tokens(), old), **_leaving(change.tokens(), old)}


def _factors_along_axis(old: LowRank, new: LowRank, change: Change) -> dict[str, Tensor]:
    maps = change.axis(old.in_features, new.in_features)
    return {**_entering(maps, old), **_leaving(maps, old)}


def _entering(maps: Resample, linear: nn.Linear | LowRank) -> dict[str, Tensor]:
    """The matrix that takes from the positions; of two factors the first."""
    if isinstance(linear, LowRank):
        return {"down.weight": maps.inputs(linear.down.weight)}
    return {"weight": maps.inputs(linear.weight)}


def _leaving(maps: Resample, linear: nn.Linear | LowRank) -> dict[str, Tensor]:
    """The matrix and the bias that put onto the positions; of two factors the second."""
    if isinstance(linear, LowRank):
        return {"up.weight": maps.outputs(linear.up.weight), "up.bias": maps.outputs(linear.up.bias)}
    return {"weight": maps.outputs(linear.weight), "bias": maps.outputs(linear.bias)}


def _along_segments(old: Any, new: Any, change: Change) -> dict[str, Tensor]:
    return _along(change.axis(old.cells, new.cells).each_of(old.in_features // old.cells), old.weight, old.bias)


def _mlp(maps: Resample, mlp: Mlp) -> dict[str, Tensor]:
    """Two linear maps, from the positions and back to them."""
    return {**_named("fc1", _entering(maps, mlp.fc1)), **_named("fc2", _leaving(maps, mlp.fc2))}


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _token_mlp(old: TokenMlp, new: TokenMlp, change: Change) -> dict[str, Tensor]:
    return _mlp(change.tokens(), old)


def _raft(old: raftmlp.VerticalMix, new: raftmlp.VerticalMix, change: Change) -> dict[str, Tensor]:
    sides = (mix.mlp.fc1.in_features // mix.rafts for mix in (old, new))
    return _named("mlp", _mlp(change.axis(*sides).repeated(old.rafts), old.mlp))


def _channel_perceptron(
    old: repmlpnet.ChannelPerceptron, new: repmlpnet.ChannelPerceptron, change: Change
) -> dict[str, Tensor]:
    maps = Resample.between(old.grid, new.grid, change.kernel)
    found = {"weight": torch.stack([maps.outputs(maps.inputs(matrix)) for matrix in old.weight])}
    if old.bias is not None:
        found["bias"] = maps.repeated(old.sets).outputs(old.bias)
    return found


def _ffonly_block(old: ffonly.FFOnlyBlock, new: ffonly.FFOnlyBlock, change: Change) -> dict[str, Tensor]:
    maps, norm = change.tokens().after_class(), old.token_norm
    scales = {"weight": maps.outputs(norm.weight), "bias": maps.outputs(norm.bias)}
    return {**_named("token_norm", scales), **_named("token_mlp", _mlp(maps, old.token_mlp))}


def _ffonly_positions(old: ffonly.FFOnly, new: ffonly.FFOnly, change: Change) -> dict[str, Tensor]:
    by_position = change.tokens().outputs(old.grid_position[0].flatten(1).T)  # n c
    return {"grid_position": by_position.T.unflatten(1, change.new)[None]}


def _eamlp_positions(old: eamlp.EAMLP, new: eamlp.EAMLP, change: Change) -> dict[str, Tensor]:
    return {"position": change.tokens().after_class().outputs(old.position[0])[None]}


INTERPOLATE: dict[type[nn.Module], Rule] = {
    Patches: _patches,
    AlongTokens: _along_tokens,
    AlongRows: _along_axis,
    AlongColumns: _along_axis,
    LowRankAlongTokens: _factors_along_tokens,
    LowRankAlongRows: _factors_along_axis,
    LowRankAlongColumns: _factors_along_axis,
    SegmentsAlongRows: _along_segments,
    SegmentsAlongColumns: _along_segments,
    TokenMlp: _token_mlp,
    raftmlp.VerticalMix: _raft,
    raftmlp.HorizontalMix: _raft,
    repmlpnet.ChannelPerceptron: _channel_perceptron,
    ffonly.FFOnlyBlock: _ffonly_block,
    ffonly.FFOnly: _ffonly_positions,
    eamlp.EAMLP: _eamlp_positions,
}


def _tiled_widths(model: ImageModel, img_size: object) -> dict[str, Any]:
    """A Mixer's hidden width for one MLP on each tile."""
    if not isinstance(model, mixer.Mixer):
        raise ModelError(f"block_diagonal is MLP-Mixer's; this model is a {model.family}", hint='use method="interpolate"')
    height, width = model.img_size
    wanted = img_size if isinstance(img_size, tuple | list) else (img_size, img_size)
    fits = len(wanted) == 2 and all(isinstance(v, int) and v >= s for v, s in zip(wanted, (height, width), strict=True))
    if not fits or wanted[0] % height or wanted[1] % width:
        raise ModelError(
            f"img_size={img_size!r} is not made of whole tiles of {height} × {width} pixels",
            hint=f'use ({2 * height}, {2 * width}), say, or method="interpolate"',
        )
    block: Any = model.blocks[0]
    if model.hyperparameters.get("token_rank"):
        raise ModelError("block_diagonal is for whole matrices; this model's are of low rank", hint='use method="interpolate"')
    return {"token_hidden": block.token_mlp.fc1.out_features * (wanted[0] // height) * (wanted[1] // width)}


def _tiles(old: TokenMlp, new: TokenMlp, change: Change) -> dict[str, Tensor]:
    """The same MLP for every tile, side by side: hidden units of one tile see and reach the tokens of that tile alone."""
    (rows, columns), (_, wide) = change.old, change.new
    corners = [(top, left) for top in range(0, change.new[0], rows) for left in range(0, wide, columns)]
    inside = (torch.arange(rows)[:, None] * wide + torch.arange(columns)).flatten()  # n of one tile
    hidden, tokens = old.fc1.out_features, prod(change.new)
    first = old.fc1.weight.new_zeros(len(corners) * hidden, tokens)
    second = old.fc2.weight.new_zeros(tokens, len(corners) * hidden)
    bias = old.fc2.bias.new_zeros(tokens)
    for tile, (top, left) in enumerate(corners):
        units, places = slice(tile * hidden, (tile + 1) * hidden), inside + top * wide + left
        first[units, places] = old.fc1.weight
        second[places, units] = old.fc2.weight
        bias[places] = old.fc2.bias
    return {"fc1.weight": first, "fc1.bias": old.fc1.bias.repeat(len(corners)), "fc2.weight": second, "fc2.bias": bias}


BLOCK_DIAGONAL: dict[type[nn.Module], Rule] = {TokenMlp: _tiles}
