"""ConvMLP: the release."""

from allmlp.weights.layouts.table import LAST, STAGE, Layout

CONVMLP_RELEASE = Layout(
    source="convmlp",
    family="convmlp",
    mark="conv_stages.",
    renames=[
        (rf"stem\.tokenizer\.(?P<n>\d+)\.{LAST}", "tokenizer.block.{n}.{p}"),
        (rf"stem\.blocks\.(?P<i>\d+)\.(?P<n>\d+)\.{LAST}", "conv_stages.conv_blocks.{i}.{n}.{p}"),
        (rf"stages\.0\.embed\.{LAST}", "conv_stages.downsample.{p}"),
        (rf"stages\.(?P<s>\d+)\.embed\.{LAST}", "stages.{s-1}.downsample_mlp.downsample.{p}"),
        (rf"{STAGE}(?P<m>norm[12])\.{LAST}", "stages.{s}.blocks.{i}.{m}.{p}"),
        (rf"{STAGE}mlp(?P<m>[12])\.(?P<f>fc[12])\.{LAST}", "stages.{s}.blocks.{i}.channel_mlp{m}.{f}.{p}"),
        (rf"{STAGE}depthwise_norm\.{LAST}", "stages.{s}.blocks.{i}.connect_norm.{p}"),
        (rf"{STAGE}depthwise\.{LAST}", "stages.{s}.blocks.{i}.connect.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (CONVMLP_RELEASE,)
