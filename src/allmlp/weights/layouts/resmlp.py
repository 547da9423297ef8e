"""ResMLP: the release in deit, and timm's."""

from allmlp.weights.layouts.table import VECTOR, Layout, inside

AFFINE = [("alpha", "alpha"), ("beta", "beta")]
"""Nothing else: neither source has the LayerNorm of the ablation study."""
RESMLP_DEIT = Layout(
    source="deit",
    family="resmlp",
    mark="blocks.0.gamma_1",
    renames=[
        ("patches.proj.{p}", "patch_embed.proj.{p}"),
        *inside(
            "blocks.{i}.",
            "blocks.{i}.",
            [
                *inside("token_norm.", "norm1.", AFFINE),
                ("token_mix.{p}", "attn.{p}"),
                ("token_scale.gamma", "gamma_1"),
                *inside("channel_norm.", "norm2.", AFFINE),
                ("channel_mlp.{f}.{p}", "mlp.{f}.{p}"),
                ("channel_scale.gamma", "gamma_2"),
            ],
        ),
        *inside("norm.", "norm.", AFFINE),
        ("head.{p}", "head.{p}"),
    ],
)
RESMLP_TIMM = Layout(
    source="timm",
    family="resmlp",
    mark="blocks.0.linear_tokens.",
    axes={".alpha": VECTOR, ".beta": VECTOR},
    renames=[
        ("patches.proj.{p}", "stem.proj.{p}"),
        *inside(
            "blocks.{i}.",
            "blocks.{i}.",
            [
                *inside("token_norm.", "norm1.", AFFINE),
                ("token_mix.{p}", "linear_tokens.{p}"),
                ("token_scale.gamma", "ls1"),
                *inside("channel_norm.", "norm2.", AFFINE),
                ("channel_mlp.{f}.{p}", "mlp_channels.{f}.{p}"),
                ("channel_scale.gamma", "ls2"),
            ],
        ),
        *inside("norm.", "norm.", AFFINE),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (RESMLP_DEIT, RESMLP_TIMM)
