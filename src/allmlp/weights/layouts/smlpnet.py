"""sMLPNet: the release in SPACH."""

import re
from collections.abc import Mapping

from torch import Tensor

from allmlp.weights.layouts.table import POINTWISE, Depths, Layout, inside


def _depths(theirs: Mapping[str, Tensor]) -> Depths:
    """Blocks are numbered through the stages, but each stage has a width of its own."""
    widths = _widths(theirs, r"to_patch_embedding\.(\d+)\.0\.weight")
    blocks = _widths(theirs, r"token_mix\.(\d+)\.0\.conv_merge\.Conv\.weight")
    return tuple(list(blocks.values()).count(width) for _, width in sorted(widths.items()))


def _widths(theirs: Mapping[str, Tensor], pattern: str) -> dict[int, int]:
    """Number in the name → output channels."""
    found = ((re.fullmatch(pattern, name), tensor) for name, tensor in theirs.items())
    return {int(match[1]): len(tensor) for match, tensor in found if match and tensor.ndim}


SMLPNET_SPACH = Layout(
    source="spach",
    family="smlpnet",
    mark="to_patch_embedding.0.0.",
    axes={".proj_h.weight": POINTWISE, ".proh_w.weight": POINTWISE},
    depths=_depths,
    renames=[
        ("stages.{s}.embed.{p}", "to_patch_embedding.{s}.0.{p}"),
        *inside(
            "stages.{s}.blocks.{i}.",
            "token_mix.{j}.",
            [
                ("depthwise.norm.{p}", "0.conv_merge.BN.{p}"),
                ("depthwise.conv.{p}", "0.conv_merge.Conv.{p}"),
                ("sparse.norm.{p}", "1.BN.{p}"),
                ("sparse.along_columns.{p}", "1.proj_h.{p}"),  # mixes the width
                ("sparse.along_rows.{p}", "1.proh_w.{p}"),  # mixes the height
                ("sparse.fuse.{p}", "1.fuse.{p}"),
            ],
        ),
        *inside(
            "stages.{s}.blocks.{i}.",
            "channel_mix.{j}.",
            [
                ("channel_norm.{p}", "1.{p}"),
                ("channel_mlp.fc1.{p}", "2.net.0.{p}"),
                ("channel_mlp.fc2.{p}", "2.net.3.{p}"),
            ],
        ),
        ("norm.{p}", "batch_norm.{p}"),
        ("head.{p}", "mlp_head.0.{p}"),
    ],
)
LAYOUTS = (SMLPNET_SPACH,)
