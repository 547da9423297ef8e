"""RepMLPNet: the release, in training and in deployed form."""

from torch import Tensor

from allmlp.weights.layouts.table import LAST, STAGE, Layout, matrix


def _matrices(name: str, tensor: Tensor) -> Tensor:
    """The release writes its fully connected layers as 1 × 1 convolutions, the shared ones in groups."""
    if name.endswith((".gp.fc1.weight", ".gp.fc2.weight")):
        return matrix(tensor)
    if name.endswith(".fc3.weight"):  # (s m) n 1 1, as many m as n
        return matrix(tensor).unflatten(0, (-1, tensor.shape[1]))
    return tensor


_BLOCK = "stages.{s}.{i}"
_MIX = "stages.{s}.{i}.repmlp_block"
REPMLPNET_RELEASE = Layout(
    source="repmlp",
    family="repmlpnet",
    mark="stages.0.0.repmlp_block.",
    to_ours=_matrices,
    renames=[
        (rf"stages\.0\.embed\.conv\.{LAST}", "conv_embedding.conv.{p}"),
        (rf"stages\.0\.embed\.norm\.{LAST}", "conv_embedding.bn.{p}"),
        (rf"stages\.(?P<s>\d+)\.embed\.conv\.{LAST}", "embeds.{s-1}.conv.{p}"),
        (rf"stages\.(?P<s>\d+)\.embed\.norm\.{LAST}", "embeds.{s-1}.bn.{p}"),
        (rf"{STAGE}token_norm\.{LAST}", f"{_BLOCK}.prebn1.{{p}}"),
        (rf"{STAGE}gate\.(?P<f>fc[12])\.{LAST}", f"{_MIX}.gp.{{f}}.{{p}}"),
        (rf"{STAGE}mix\.channel\.{LAST}", f"{_MIX}.fc3.{{p}}"),
        (rf"{STAGE}mix\.norm\.{LAST}", f"{_MIX}.fc3_bn.{{p}}"),
        (rf"{STAGE}mix\.local\.(?P<k>\d+)\.conv\.{LAST}", f"{_MIX}.repconv{{k}}.conv.{{p}}"),
        (rf"{STAGE}mix\.local\.(?P<k>\d+)\.norm\.{LAST}", f"{_MIX}.repconv{{k}}.bn.{{p}}"),
        (rf"{STAGE}mix\.{LAST}", f"{_MIX}.fc3.{{p}}"),  # deployed
        (rf"{STAGE}channel_norm\.{LAST}", f"{_BLOCK}.prebn2.{{p}}"),
        (rf"{STAGE}enter\.conv\.{LAST}", f"{_BLOCK}.ffn_block.ffn_fc1.conv.{{p}}"),
        (rf"{STAGE}enter\.norm\.{LAST}", f"{_BLOCK}.ffn_block.ffn_fc1.bn.{{p}}"),
        (rf"{STAGE}leave\.conv\.{LAST}", f"{_BLOCK}.ffn_block.ffn_fc2.conv.{{p}}"),
        (rf"{STAGE}leave\.norm\.{LAST}", f"{_BLOCK}.ffn_block.ffn_fc2.bn.{{p}}"),
        (rf"norm\.{LAST}", "head_norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (REPMLPNET_RELEASE,)
