"""sMLPNet: the release in SPACH."""

from torch import Tensor

from allmlp.weights.layouts.table import LAST, STAGE, Layout, matrix


def _plain_matrices(name: str, tensor: Tensor) -> Tensor:
    """The release mixes an axis by a 1 × 1 convolution over it."""
    return matrix(tensor) if name.endswith((".proj_h.weight", ".proh_w.weight")) else tensor


SMLPNET_SPACH = Layout(
    source="spach",
    family="smlpnet",
    mark="to_patch_embedding.0.0.",
    to_ours=_plain_matrices,
    renames=[
        (r"stages\.(?P<s>\d+)\.embed\.weight", "to_patch_embedding.{s}.0.weight"),
        (rf"{STAGE}depthwise\.norm\.{LAST}", "token_mix.{j}.0.conv_merge.BN.{p}"),
        (rf"{STAGE}depthwise\.conv\.{LAST}", "token_mix.{j}.0.conv_merge.Conv.{p}"),
        (rf"{STAGE}sparse\.norm\.{LAST}", "token_mix.{j}.1.BN.{p}"),
        (rf"{STAGE}sparse\.along_columns\.{LAST}", "token_mix.{j}.1.proj_h.{p}"),  # mixes the width
        (rf"{STAGE}sparse\.along_rows\.{LAST}", "token_mix.{j}.1.proh_w.{p}"),  # mixes the height
        (rf"{STAGE}sparse\.fuse\.{LAST}", "token_mix.{j}.1.fuse.{p}"),
        (rf"{STAGE}channel_norm\.{LAST}", "channel_mix.{j}.1.{p}"),
        (rf"{STAGE}channel_mlp\.fc1\.{LAST}", "channel_mix.{j}.2.net.0.{p}"),
        (rf"{STAGE}channel_mlp\.fc2\.{LAST}", "channel_mix.{j}.2.net.3.{p}"),
        (rf"norm\.{LAST}", "batch_norm.{p}"),
        (rf"head\.{LAST}", "mlp_head.0.{p}"),
    ],
)
LAYOUTS = (SMLPNET_SPACH,)
