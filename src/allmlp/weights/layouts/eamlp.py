"""EAMLP: the release in EANet, which kept T2T-ViT's names."""

from allmlp.weights.layouts.table import Layout, inside

EAMLP_EANET = Layout(
    source="eanet",
    family="eamlp",
    mark="tokens_to_token.",
    renames=[
        *inside(
            "patches.reductions.{n}.",
            "tokens_to_token.attention{n+1}.",
            [
                ("token_norm.{p}", "norm1.{p}"),
                ("reduce.{p}", "attn.q_linear.{p}"),
                ("memory.keys.{p}", "attn.linear_0.{p}"),
                ("memory.values.{p}", "attn.linear_1.{p}"),
                ("proj.{p}", "attn.proj.{p}"),
                ("channel_norm.{p}", "norm2.{p}"),
                ("channel_mlp.{f}.{p}", "mlp.{f}.{p}"),
            ],
        ),
        ("patches.proj.{p}", "tokens_to_token.project.{p}"),
        ("class_token", "cls_token"),
        ("position", "pos_embed"),
        *inside(
            "blocks.{i}.",
            "blocks.{i}.",
            [
                ("token_norm.{p}", "norm1.{p}"),
                ("token_mix.widen.{p}", "attn.trans_dims.{p}"),
                ("token_mix.memory.keys.{p}", "attn.linear_0.{p}"),
                ("token_mix.memory.values.{p}", "attn.linear_1.{p}"),
                ("token_mix.proj.{p}", "attn.proj.{p}"),
                ("channel_norm.{p}", "norm2.{p}"),
                ("channel_mlp.{f}.{p}", "mlp.{f}.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (EAMLP_EANET,)
