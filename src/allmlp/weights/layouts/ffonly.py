"""FF-only: the release of "Do You Even Need Attention?"."""

from allmlp.weights.layouts.table import Layout, inside

FFONLY_RELEASE = Layout(
    source="ff-only",
    family="ffonly",
    mark="pos_encoding.",
    renames=[
        ("patches.proj.{p}", "patch_embed.proj.{p}"),
        ("class_token", "cls_token"),
        ("class_position", "pos_encoding.cls_pos_embed"),
        ("grid_position", "pos_encoding.pos_embed"),
        *inside(
            "blocks.{i}.",
            "blocks.{i}.",
            [
                ("channel_norm.{p}", "norm1.{p}"),
                ("channel_mlp.{f}.{p}", "mlp1.{f}.{p}"),
                ("token_norm.{p}", "norm2.{p}"),
                ("token_mlp.{f}.{p}", "mlp2.{f}.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (FFONLY_RELEASE,)
