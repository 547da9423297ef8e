"""How released checkpoints name and shape their tensors: one table of renames per source.

A table maps our parameter names, as regular expressions, to the source's. It is read in one
direction only (the model says which names it needs), so a source with extra tensors is noticed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

Depths = Sequence[int]
"""Blocks per stage, for sources that number blocks through; empty where there are no stages."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One source's way of writing one family."""

    source: str
    family: str
    mark: str
    """A tensor's name, or the beginning of one, that only this layout has."""
    renames: Sequence[tuple[str, str]]
    """(regular expression of our name, template of theirs); `{j}` is the block counted through the stages."""
    to_ours: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
    """(their name, their tensor) → a tensor in our axis order."""

    def name_of(self, ours: str, depths: Depths) -> str | None:
        """What this source calls our parameter; None when it has no name for it."""
        for pattern, template in self.renames:
            match = re.fullmatch(pattern, ours)
            if match:
                groups = match.groupdict()
                if "s" in groups and "i" in groups:
                    groups["j"] = str(sum(depths[: int(groups["s"])]) + int(groups["i"]))
                return template.format(**groups)
        return None


def _flax_kernel(name: str, tensor: Tensor) -> Tensor:
    """Flax keeps (in, out) and height, width, in, out; torch (out, in) and out, in, height, width."""
    if name == "stem/kernel" or name == "embedding/kernel":
        return tensor.permute(3, 2, 0, 1)
    if "kernel" in name:
        return tensor.squeeze().T
    return tensor.squeeze() if "bias" in name else tensor


def _without_ones(name: str, tensor: Tensor) -> Tensor:
    """timm keeps Affine as 1 × 1 × c, sMLPNet its axis mixes as 1 × 1 convolutions."""
    if name.endswith((".alpha", ".beta")):
        return tensor.reshape(-1)
    if re.search(r"\.(proj_h|proh_w)\.weight$", name) and tensor.ndim == 4:
        return tensor.flatten(1)
    return tensor


_BLOCK = r"blocks\.(?P<i>\d+)\."
_STAGE = r"stages\.(?P<s>\d+)\.blocks\.(?P<i>\d+)\."
_LAST = r"(?P<p>\w+)"


def _flax(stem: str, block: str, norm: str, mlps: Mapping[str, str]) -> list[tuple[str, str]]:
    """The two Flax layouts differ in the names of the parts and of the tensors inside an MLP."""
    table = [(r"patches\.proj\.weight", f"{stem}/kernel"), (r"patches\.proj\.bias", f"{stem}/bias")]
    for part, number in (("token", "0"), ("channel", "1")):
        for ours, theirs in (("weight", "scale"), ("bias", "bias")):
            table.append((rf"{_BLOCK}{part}_norm\.{ours}", f"{block}_{{i}}/LayerNorm_{number}/{theirs}"))
        for ours, theirs in mlps.items():
            table.append((rf"{_BLOCK}{part}_mlp\.{ours}", f"{block}_{{i}}/{part}_mixing{theirs}"))
    table += [(r"norm\.weight", f"{norm}/scale"), (r"norm\.bias", f"{norm}/bias")]
    return [*table, (r"head\.weight", "head/kernel"), (r"head\.bias", "head/bias")]


MIXER_GOOGLE = Layout(
    source="google",
    family="mixer",
    mark="MixerBlock_0/",
    to_ours=_flax_kernel,
    renames=_flax(
        "stem",
        "MixerBlock",
        "pre_head_layer_norm",
        {
            r"fc1\.weight": "/Dense_0/kernel",
            r"fc1\.bias": "/Dense_0/bias",
            r"fc2\.weight": "/Dense_1/kernel",
            r"fc2\.bias": "/Dense_1/bias",
        },
    ),
)
MIXER_GOOGLE_OLDER = Layout(
    source="google, older",
    family="mixer",
    mark="Mixer/encoderblock_0/",
    to_ours=_flax_kernel,
    renames=_flax(
        "embedding",
        "Mixer/encoderblock",
        "Mixer/encoder_norm",
        {
            r"fc1\.weight": "_phase_0/kernel1",
            r"fc1\.bias": "_phase_0/bias1",
            r"fc2\.weight": "_phase_0/kernel2",
            r"fc2\.bias": "_phase_0/bias2",
        },
    ),
)
MIXER_TIMM = Layout(
    source="timm",
    family="mixer",
    mark="blocks.0.mlp_tokens.",
    renames=[
        (rf"patches\.proj\.{_LAST}", "stem.proj.{p}"),
        (rf"{_BLOCK}token_norm\.{_LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{_BLOCK}token_mlp\.(?P<f>fc[12])\.{_LAST}", "blocks.{i}.mlp_tokens.{f}.{p}"),
        (rf"{_BLOCK}channel_norm\.{_LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{_BLOCK}channel_mlp\.(?P<f>fc[12])\.{_LAST}", "blocks.{i}.mlp_channels.{f}.{p}"),
        (rf"norm\.{_LAST}", "norm.{p}"),
        (rf"head\.{_LAST}", "head.{p}"),
    ],
)
RESMLP_DEIT = Layout(
    source="deit",
    family="resmlp",
    mark="patch_embed.proj.",
    renames=[
        (rf"patches\.proj\.{_LAST}", "patch_embed.proj.{p}"),
        (rf"{_BLOCK}token_norm\.{_LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{_BLOCK}token_mix\.{_LAST}", "blocks.{i}.attn.{p}"),
        (rf"{_BLOCK}token_scale\.gamma", "blocks.{i}.gamma_1"),
        (rf"{_BLOCK}channel_norm\.{_LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{_BLOCK}channel_mlp\.(?P<f>fc[12])\.{_LAST}", "blocks.{i}.mlp.{f}.{p}"),
        (rf"{_BLOCK}channel_scale\.gamma", "blocks.{i}.gamma_2"),
        (rf"norm\.{_LAST}", "norm.{p}"),
        (rf"head\.{_LAST}", "head.{p}"),
    ],
)
RESMLP_TIMM = Layout(
    source="timm",
    family="resmlp",
    mark="blocks.0.linear_tokens.",
    to_ours=_without_ones,
    renames=[
        (rf"patches\.proj\.{_LAST}", "stem.proj.{p}"),
        (rf"{_BLOCK}token_norm\.{_LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{_BLOCK}token_mix\.{_LAST}", "blocks.{i}.linear_tokens.{p}"),
        (rf"{_BLOCK}token_scale\.gamma", "blocks.{i}.ls1"),
        (rf"{_BLOCK}channel_norm\.{_LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{_BLOCK}channel_mlp\.(?P<f>fc[12])\.{_LAST}", "blocks.{i}.mlp_channels.{f}.{p}"),
        (rf"{_BLOCK}channel_scale\.gamma", "blocks.{i}.ls2"),
        (rf"norm\.{_LAST}", "norm.{p}"),
        (rf"head\.{_LAST}", "head.{p}"),
    ],
)
SMLPNET_SPACH = Layout(
    source="spach",
    family="smlpnet",
    mark="to_patch_embedding.0.0.",
    to_ours=_without_ones,
    renames=[
        (r"stages\.(?P<s>\d+)\.embed\.weight", "to_patch_embedding.{s}.0.weight"),
        (rf"{_STAGE}depthwise\.norm\.{_LAST}", "token_mix.{j}.0.conv_merge.BN.{p}"),
        (rf"{_STAGE}depthwise\.conv\.{_LAST}", "token_mix.{j}.0.conv_merge.Conv.{p}"),
        (rf"{_STAGE}sparse\.norm\.{_LAST}", "token_mix.{j}.1.BN.{p}"),
        (rf"{_STAGE}sparse\.along_columns\.{_LAST}", "token_mix.{j}.1.proj_h.{p}"),  # mixes the width
        (rf"{_STAGE}sparse\.along_rows\.{_LAST}", "token_mix.{j}.1.proh_w.{p}"),  # mixes the height
        (rf"{_STAGE}sparse\.fuse\.{_LAST}", "token_mix.{j}.1.fuse.{p}"),
        (rf"{_STAGE}channel_norm\.{_LAST}", "channel_mix.{j}.1.{p}"),
        (rf"{_STAGE}channel_mlp\.fc1\.{_LAST}", "channel_mix.{j}.2.net.0.{p}"),
        (rf"{_STAGE}channel_mlp\.fc2\.{_LAST}", "channel_mix.{j}.2.net.3.{p}"),
        (rf"norm\.{_LAST}", "batch_norm.{p}"),
        (rf"head\.{_LAST}", "mlp_head.0.{p}"),
    ],
)
LAYOUTS = (MIXER_GOOGLE, MIXER_GOOGLE_OLDER, MIXER_TIMM, RESMLP_DEIT, RESMLP_TIMM, SMLPNET_SPACH)


def recognise(names: Sequence[str]) -> Layout | None:
    """The layout whose mark stands among a checkpoint's tensor names; None for ours or an unknown one."""
    return next((layout for layout in LAYOUTS if any(n.startswith(layout.mark) for n in names)), None)
