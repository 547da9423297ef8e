"""Vision Permutator: the release."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from allmlp.weights.layouts.table import Layout, inside


@dataclass(frozen=True, kw_only=True)
class NetworkLayout(Layout):
    """The release keeps stages, and what stands between some of them, in one list; "{s}" counts both."""

    def names_of(self, ours: Iterable[str]) -> dict[str, str | None]:
        ours = list(ours)
        between = [int(match[1]) for name in ours if (match := re.fullmatch(r"stages\.([1-9]\d*)\.embed\.weight", name))]

        def renumbered(name: str) -> str:
            match = re.fullmatch(r"stages\.([1-9]\d*)\.(.+)", name)
            if not match:
                return name
            place = int(match[1]) + sum(s <= int(match[1]) for s in between) - match[2].startswith("embed.")
            return f"stages.{place}.{match[2]}"

        names = {name: renumbered(name) for name in ours}
        theirs = super().names_of(names.values())
        return {name: theirs[place] for name, place in names.items()}

    def names_back(self, theirs: Mapping[str, Tensor]) -> dict[str, str | None]:
        between = [int(match[1]) for name in theirs if (match := re.fullmatch(r"network\.(\d+)\.proj\.weight", name))]

        def renumbered(name: str | None) -> str | None:
            match = re.fullmatch(r"stages\.([1-9]\d*)\.(.+)", name or "")
            return name if not match else f"stages.{int(match[1]) - sum(b < int(match[1]) for b in between)}.{match[2]}"

        return {name: renumbered(ours) for name, ours in super().names_back(theirs).items()}


VIP_RELEASE = NetworkLayout(
    source="vip",
    family="vip",
    mark="network.0.0.attn.",
    renames=[
        ("stages.0.embed.{p}", "patch_embed.proj.{p}"),
        ("stages.{s}.embed.{p}", "network.{s}.proj.{p}"),
        *inside(
            "stages.{s}.blocks.{i}.",
            "network.{s}.{i}.",
            [
                ("token_norm.{p}", "norm1.{p}"),
                ("token_mix.along_rows.{p}", "attn.mlp_h.{p}"),
                ("token_mix.along_columns.{p}", "attn.mlp_w.{p}"),
                ("token_mix.along_channels.{p}", "attn.mlp_c.{p}"),
                ("token_mix.fuse.{f}.{p}", "attn.reweight.{f}.{p}"),
                ("token_mix.proj.{p}", "attn.proj.{p}"),
                ("channel_norm.{p}", "norm2.{p}"),
                ("channel_mlp.{f}.{p}", "mlp.{f}.{p}"),
            ],
        ),
        ("norm.{p}", "norm.{p}"),
        ("head.{p}", "head.{p}"),
    ],
)
LAYOUTS = (VIP_RELEASE,)
