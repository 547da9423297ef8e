"""EAMLP: the release in EANet, which kept T2T-ViT's names."""

from allmlp.weights.layouts.table import BLOCK, LAST, Layout


def _reduction(number: int) -> list[tuple[str, str]]:
    ours, theirs = rf"patches\.reductions\.{number - 1}\.", f"tokens_to_token.attention{number}."
    return [
        (rf"{ours}token_norm\.{LAST}", theirs + "norm1.{p}"),
        (rf"{ours}reduce\.{LAST}", theirs + "attn.q_linear.{p}"),
        (rf"{ours}memory\.keys\.{LAST}", theirs + "attn.linear_0.{p}"),
        (rf"{ours}memory\.values\.{LAST}", theirs + "attn.linear_1.{p}"),
        (rf"{ours}proj\.{LAST}", theirs + "attn.proj.{p}"),
        (rf"{ours}channel_norm\.{LAST}", theirs + "norm2.{p}"),
        (rf"{ours}channel_mlp\.(?P<f>fc[12])\.{LAST}", theirs + "mlp.{f}.{p}"),
    ]


EAMLP_EANET = Layout(
    source="eanet",
    family="eamlp",
    mark="tokens_to_token.",
    renames=[
        *_reduction(1),
        *_reduction(2),
        (rf"patches\.proj\.{LAST}", "tokens_to_token.project.{p}"),
        (r"class_token", "cls_token"),
        (r"position", "pos_embed"),
        (rf"{BLOCK}token_norm\.{LAST}", "blocks.{i}.norm1.{p}"),
        (rf"{BLOCK}token_mix\.widen\.{LAST}", "blocks.{i}.attn.trans_dims.{p}"),
        (rf"{BLOCK}token_mix\.memory\.keys\.{LAST}", "blocks.{i}.attn.linear_0.{p}"),
        (rf"{BLOCK}token_mix\.memory\.values\.{LAST}", "blocks.{i}.attn.linear_1.{p}"),
        (rf"{BLOCK}token_mix\.proj\.{LAST}", "blocks.{i}.attn.proj.{p}"),
        (rf"{BLOCK}channel_norm\.{LAST}", "blocks.{i}.norm2.{p}"),
        (rf"{BLOCK}channel_mlp\.(?P<f>fc[12])\.{LAST}", "blocks.{i}.mlp.{f}.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (EAMLP_EANET,)
