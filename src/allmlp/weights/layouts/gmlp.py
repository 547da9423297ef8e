"""gMLP: timm's."""

from allmlp.weights.layouts.table import BLOCK, LAST, Layout

GMLP_TIMM = Layout(
    source="timm",
    family="gmlp",
    mark="blocks.0.mlp_channels.gate.",
    renames=[
        (rf"patches\.proj\.{LAST}", "stem.proj.{p}"),
        (rf"{BLOCK}norm\.{LAST}", "blocks.{i}.norm.{p}"),
        (rf"{BLOCK}(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp_channels.{f}.{p}"),
        (rf"{BLOCK}gate\.norm\.{LAST}", "blocks.{i}.mlp_channels.gate.norm.{p}"),
        (rf"{BLOCK}gate\.token_mix\.{LAST}", "blocks.{i}.mlp_channels.gate.proj.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (GMLP_TIMM,)
