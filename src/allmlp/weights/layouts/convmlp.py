"""ConvMLP: the release."""

from allmlp.weights.layouts.table import Layout, inside

CONVMLP_RELEASE = Layout(
    source="convmlp",
    family="convmlp",
    mark="conv_stages.",
    renames=[
        ("stem.tokenizer.{n}.{p}", "tokenizer.block.{n}.{p}"),
        ("stem.blocks.{i}.{n}.{p}", "conv_stages.conv_blocks.{i}.{n}.{p}"),
        ("stages.0.embed.{p}", "conv_stages.downsample.{p}"),
        ("stages.{s}.embed.{p}", "stages.{s-1}.downsample_mlp.downsample.{p}"),
        *inside(
            "stages.{s}.blocks.{i}.",
            "stages.{s}.blocks.{i}.",
            [
                ("depthwise_norm.{p}", "connect_norm.{p}"),
                ("depthwise.{p}", "connect.{p}"),
                ("norm{n}.{p}", "norm{n}.{p}"),
                ("mlp{n}.{f}.{p}", "channel_mlp{n}.{f}.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (CONVMLP_RELEASE,)
