"""MLP-Mixer: Google's two Flax layouts, and timm's."""

from collections.abc import Mapping

from torch import Tensor

from allmlp.weights.layouts.table import BLOCK, LAST, Layout


def _flax_kernel(name: str, tensor: Tensor) -> Tensor:
    """Flax keeps (in, out) and height, width, in, out; torch (out, in) and out, in, height, width."""
    if name == "stem/kernel" or name == "embedding/kernel":
        return tensor.permute(3, 2, 0, 1)
    if "kernel" in name:
        return tensor.reshape([n for n in tensor.shape if n > 1] if tensor.ndim > 2 else tensor.shape).T
    return tensor.reshape(-1) if "bias" in name else tensor


def _flax(stem: str, block: str, norm: str, mlps: Mapping[str, str]) -> list[tuple[str, str]]:
    """The two Flax layouts differ in the names of the parts and of the tensors inside an MLP."""
    table = [(r"patches\.proj\.weight", f"{stem}/kernel"), (r"patches\.proj\.bias", f"{stem}/bias")]
    for part, number in (("token", "0"), ("channel", "1")):
        for ours, theirs in (("weight", "scale"), ("bias", "bias")):
            table.append((rf"{BLOCK}{part}_norm\.{ours}", f"{block}_{{i}}/LayerNorm_{number}/{theirs}"))
        for ours, theirs in mlps.items():
            table.append((rf"{BLOCK}{part}_mlp\.{ours}", f"{block}_{{i}}/{part}_mixing{theirs}"))
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
        (rf"patches\.proj\.{LAST}", "stem.proj.{p}"),
        (rf"{BLOCK}token_norm\.{LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{BLOCK}token_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp_tokens.{f}.{p}"),
        (rf"{BLOCK}channel_norm\.{LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{BLOCK}channel_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp_channels.{f}.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (MIXER_GOOGLE, MIXER_GOOGLE_OLDER, MIXER_TIMM)
