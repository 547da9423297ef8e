"""MLP-Mixer: Google's two Flax layouts, and timm's."""

from collections.abc import Mapping

from torch import Tensor

from allmlp.weights.layouts.table import Axes, Layout, inside

KERNEL = Axes(lambda tensor: tensor.permute(3, 2, 0, 1), lambda tensor: tensor.permute(2, 3, 1, 0))
"""height, width, in, out ↔ out, in, height, width."""
DENSE = Axes(lambda tensor: tensor.permute(1, 0), lambda tensor: tensor.permute(1, 0))
"""in × out ↔ out × in."""


def _without_ones(tensor: Tensor) -> Tensor:
    """The older layout may have axes of one around a matrix or a vector."""
    return tensor.reshape([n for n in tensor.shape if n > 1]) if tensor.ndim > 2 else tensor


OLDER_DENSE = Axes(lambda tensor: _without_ones(tensor).permute(1, 0), DENSE.to_theirs)
OLDER_BIAS = Axes(lambda tensor: tensor.reshape(-1), lambda tensor: tensor)


def _flax(stem: str, block: str, norm: str, mlp: Mapping[str, str]) -> list[tuple[str, str]]:
    """The two Flax layouts differ in the names of the parts and of the tensors inside an MLP.

    mlp: our tensors inside an MLP → theirs, after the name of the part.
    """
    return [
        ("patches.proj.weight", f"{stem}/kernel"),
        ("patches.proj.bias", f"{stem}/bias"),
        *inside(
            "blocks.{i}.",
            block + "_{i}/",
            [
                ("token_norm.weight", "LayerNorm_0/scale"),
                ("token_norm.bias", "LayerNorm_0/bias"),
                *inside("token_mlp.", "token_mixing", mlp.items()),
                ("channel_norm.weight", "LayerNorm_1/scale"),
                ("channel_norm.bias", "LayerNorm_1/bias"),
                *inside("channel_mlp.", "channel_mixing", mlp.items()),
            ],
        ),
        ("norm.weight", f"{norm}/scale"),
        ("norm.bias", f"{norm}/bias"),
        ("head.weight", "head/kernel"),
        ("head.bias", "head/bias"),
    ]


MIXER_GOOGLE = Layout(
    source="google",
    family="mixer",
    mark="MixerBlock_0/",
    suffixes=(".npz", ".safetensors"),
    implies={"act": "gelu_tanh"},
    axes={"stem/kernel": KERNEL, "/kernel": DENSE},
    renames=_flax(
        "stem",
        "MixerBlock",
        "pre_head_layer_norm",
        {
            "fc1.weight": "/Dense_0/kernel",
            "fc1.bias": "/Dense_0/bias",
            "fc2.weight": "/Dense_1/kernel",
            "fc2.bias": "/Dense_1/bias",
        },
    ),
)
MIXER_GOOGLE_OLDER = Layout(
    source="google, older",
    family="mixer",
    mark="Mixer/encoderblock_0/",
    suffixes=(".npz", ".safetensors"),
    implies={"act": "gelu_tanh"},
    axes={
        "embedding/kernel": KERNEL,
        "/kernel": DENSE,
        "/kernel1": OLDER_DENSE,
        "/kernel2": OLDER_DENSE,
        "/bias1": OLDER_BIAS,
        "/bias2": OLDER_BIAS,
    },
    renames=_flax(
        "embedding",
        "Mixer/encoderblock",
        "Mixer/encoder_norm",
        {
            "fc1.weight": "_phase_0/kernel1",
            "fc1.bias": "_phase_0/bias1",
            "fc2.weight": "_phase_0/kernel2",
            "fc2.bias": "_phase_0/bias2",
        },
    ),
)
MIXER_TIMM = Layout(
    source="timm",
    family="mixer",
    mark="blocks.0.mlp_tokens.",
    implies={"act": "gelu"},
    renames=[
        ("patches.proj.{p}", "stem.proj.{p}"),
        *inside(
            "blocks.{i}.",
            "blocks.{i}.",
            [
                ("token_norm.{p}", "norm1.{p}"),
                ("token_mlp.{f}.{p}", "mlp_tokens.{f}.{p}"),
                ("channel_norm.{p}", "norm2.{p}"),
                ("channel_mlp.{f}.{p}", "mlp_channels.{f}.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (MIXER_GOOGLE, MIXER_GOOGLE_OLDER, MIXER_TIMM)
