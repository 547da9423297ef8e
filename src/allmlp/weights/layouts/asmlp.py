"""AS-MLP: the release."""

from allmlp.weights.layouts.table import POINTWISE, Layout, inside

ASMLP_RELEASE = Layout(
    source="as-mlp",
    family="asmlp",
    mark="layers.0.blocks.0.axial_shift.",
    axes={".fc1.weight": POINTWISE, ".fc2.weight": POINTWISE},
    renames=[
        ("stages.0.embed.{m}.{p}", "patch_embed.{m}.{p}"),
        ("stages.{s}.embed.{m}.{p}", "layers.{s-1}.downsample.{m}.{p}"),
        *inside(
            "stages.{s}.blocks.{i}.",
            "layers.{s}.blocks.{i}.",
            [
                ("token_norm.{p}", "norm1.{p}"),
                ("token_mix.enter.{p}", "axial_shift.conv1.{p}"),
                ("token_mix.enter_norm.{p}", "axial_shift.norm1.{p}"),
                ("token_mix.after_columns.{p}", "axial_shift.conv2_1.{p}"),
                ("token_mix.after_rows.{p}", "axial_shift.conv2_2.{p}"),
                ("token_mix.leave_norm.{p}", "axial_shift.norm2.{p}"),
                ("token_mix.leave.{p}", "axial_shift.conv3.{p}"),
                ("channel_norm.{p}", "norm2.{p}"),
                ("channel_mlp.{f}.{p}", "mlp.{f}.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (ASMLP_RELEASE,)
