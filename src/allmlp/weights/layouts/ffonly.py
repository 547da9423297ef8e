"""FF-only: the release of "Do You Even Need Attention?"."""

from allmlp.weights.layouts.table import BLOCK, LAST, Layout

FFONLY_RELEASE = Layout(
    source="ff-only",
    family="ffonly",
    mark="pos_encoding.",
    renames=[
        (rf"patches\.proj\.{LAST}", "patch_embed.proj.{p}"),
        (r"class_token", "cls_token"),
        (r"class_position", "pos_encoding.cls_pos_embed"),
        (r"grid_position", "pos_encoding.pos_embed"),
        (rf"{BLOCK}channel_norm\.{LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{BLOCK}channel_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp1.{f}.{p}"),
        (rf"{BLOCK}token_norm\.{LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{BLOCK}token_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp2.{f}.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (FFONLY_RELEASE,)
