"""ResMLP: the release in deit, and timm's."""

from torch import Tensor

from allmlp.weights.layouts.table import BLOCK, LAST, Layout, vector


def _plain_vectors(name: str, tensor: Tensor) -> Tensor:
    """timm keeps Affine as 1 × 1 × c."""
    return vector(tensor) if name.endswith((".alpha", ".beta")) else tensor


RESMLP_DEIT = Layout(
    source="deit",
    family="resmlp",
    mark="blocks.0.gamma_1",
    renames=[
        (rf"patches\.proj\.{LAST}", "patch_embed.proj.{p}"),
        (rf"{BLOCK}token_norm\.{LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{BLOCK}token_mix\.{LAST}", "blocks.{i}.attn.{p}"),
        (rf"{BLOCK}token_scale\.gamma", "blocks.{i}.gamma_1"),
        (rf"{BLOCK}channel_norm\.{LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{BLOCK}channel_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp.{f}.{p}"),
        (rf"{BLOCK}channel_scale\.gamma", "blocks.{i}.gamma_2"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
RESMLP_TIMM = Layout(
    source="timm",
    family="resmlp",
    mark="blocks.0.linear_tokens.",
    to_ours=_plain_vectors,
    renames=[
        (rf"patches\.proj\.{LAST}", "stem.proj.{p}"),
        (rf"{BLOCK}token_norm\.{LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{BLOCK}token_mix\.{LAST}", "blocks.{i}.linear_tokens.{p}"),
        (rf"{BLOCK}token_scale\.gamma", "blocks.{i}.ls1"),
        (rf"{BLOCK}channel_norm\.{LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{BLOCK}channel_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp_channels.{f}.{p}"),
        (rf"{BLOCK}channel_scale\.gamma", "blocks.{i}.ls2"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (RESMLP_DEIT, RESMLP_TIMM)
