"""AS-MLP: the release."""

from torch import Tensor

from allmlp.weights.layouts.table import LAST, STAGE, Layout, matrix


def _plain_matrices(name: str, tensor: Tensor) -> Tensor:
    """The release writes its channel MLPs as 1 × 1 convolutions."""
    return matrix(tensor) if name.endswith((".fc1.weight", ".fc2.weight")) else tensor


_SHIFT = "layers.{s}.blocks.{i}.axial_shift"
ASMLP_RELEASE = Layout(
    source="as-mlp",
    family="asmlp",
    mark="layers.0.blocks.0.axial_shift.",
    to_ours=_plain_matrices,
    renames=[
        (rf"stages\.0\.embed\.(?P<m>proj|norm)\.{LAST}", "patch_embed.{m}.{p}"),
        (rf"stages\.(?P<s>\d+)\.embed\.(?P<m>reduction|norm)\.{LAST}", "layers.{s-1}.downsample.{m}.{p}"),
        (rf"{STAGE}token_norm\.{LAST}", "layers.{s}.blocks.{i}.norm1.{p}"),
        (rf"{STAGE}token_mix\.enter\.{LAST}", f"{_SHIFT}.conv1.{{p}}"),
        (rf"{STAGE}token_mix\.enter_norm\.{LAST}", f"{_SHIFT}.norm1.{{p}}"),
        (rf"{STAGE}token_mix\.after_columns\.{LAST}", f"{_SHIFT}.conv2_1.{{p}}"),
        (rf"{STAGE}token_mix\.after_rows\.{LAST}", f"{_SHIFT}.conv2_2.{{p}}"),
        (rf"{STAGE}token_mix\.leave_norm\.{LAST}", f"{_SHIFT}.norm2.{{p}}"),
        (rf"{STAGE}token_mix\.leave\.{LAST}", f"{_SHIFT}.conv3.{{p}}"),
        (rf"{STAGE}channel_norm\.{LAST}", "layers.{s}.blocks.{i}.norm2.{p}"),
        (rf"{STAGE}channel_mlp\.(?P<f>fc[12])\.{LAST}", "layers.{s}.blocks.{i}.mlp.{f}.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (ASMLP_RELEASE,)
