"""gMLP: timm's; its authors released none."""

from allmlp.weights.layouts.table import Layout, inside

GMLP_TIMM = Layout(
    source="timm",
    family="gmlp",
    mark="blocks.0.mlp_channels.gate.",
    renames=[
        ("patches.proj.{p}", "stem.proj.{p}"),
        *inside(
            "blocks.{i}.",
            "blocks.{i}.",
            [
                ("norm.{p}", "norm.{p}"),
                ("fc1.{p}", "mlp_channels.fc1.{p}"),
                ("gate.norm.{p}", "mlp_channels.gate.norm.{p}"),
                ("gate.token_mix.{p}", "mlp_channels.gate.proj.{p}"),
                ("fc2.{p}", "mlp_channels.fc2.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (GMLP_TIMM,)
