"""RepMLPNet: the release, in training and in deployed form."""

from allmlp.weights.layouts.table import POINTWISE, Axes, Layout, inside

SHARED = Axes(
    lambda tensor: tensor.flatten(1).unflatten(0, (-1, tensor.shape[1])),
    lambda tensor: tensor.flatten(0, 1)[:, :, None, None],
)
"""(s m) × n × 1 × 1 ↔ s × m × n, as many m as n: a matrix for each set of channels, as a grouped convolution."""
_AXES = {".gp.fc1.weight": POINTWISE, ".gp.fc2.weight": POINTWISE, ".fc3.weight": SHARED}


def _renames(mix: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        ("stages.0.embed.conv.{p}", "conv_embedding.conv.{p}"),
        ("stages.0.embed.norm.{p}", "conv_embedding.bn.{p}"),
        ("stages.{s}.embed.conv.{p}", "embeds.{s-1}.conv.{p}"),
        ("stages.{s}.embed.norm.{p}", "embeds.{s-1}.bn.{p}"),
        *inside(
            "stages.{s}.blocks.{i}.",
            "stages.{s}.{i}.",
            [
                ("token_norm.{p}", "prebn1.{p}"),
                ("gate.{f}.{p}", "repmlp_block.gp.{f}.{p}"),
                *inside("mix.", "repmlp_block.", mix),
                ("channel_norm.{p}", "prebn2.{p}"),
                ("enter.conv.{p}", "ffn_block.ffn_fc1.conv.{p}"),
                ("enter.norm.{p}", "ffn_block.ffn_fc1.bn.{p}"),
                ("leave.conv.{p}", "ffn_block.ffn_fc2.conv.{p}"),
                ("leave.norm.{p}", "ffn_block.ffn_fc2.bn.{p}"),
            ],
        ),
        ("norm.{p}", "head_norm.{p}"),
        ("head.{p}", "head.{p}"),
    ]


REPMLPNET_RELEASE = Layout(
    source="repmlp",
    family="repmlpnet",
    mark="stages.0.0.repmlp_block.fc3_bn.",
    axes=_AXES,
    renames=_renames(
        [
            ("channel.{p}", "fc3.{p}"),
            ("norm.{p}", "fc3_bn.{p}"),
            ("local.{k}.conv.{p}", "repconv{k}.conv.{p}"),
            ("local.{k}.norm.{p}", "repconv{k}.bn.{p}"),
        ]
    ),
)
REPMLPNET_DEPLOYED = Layout(
    source="repmlp, deployed",
    family="repmlpnet",
    mark="stages.0.0.repmlp_block.fc3.bias",
    axes=_AXES,
    renames=_renames([("{p}", "fc3.{p}")]),
)
LAYOUTS = (REPMLPNET_RELEASE, REPMLPNET_DEPLOYED)
