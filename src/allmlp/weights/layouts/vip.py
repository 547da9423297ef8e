"""Vision Permutator: the release."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from allmlp.weights.layouts.table import LAST, STAGE, Depths, Layout


@dataclass(frozen=True, kw_only=True)
class NetworkLayout(Layout):
    """The release keeps stages, and what stands between some of them, in one list; "{s}" counts both."""

    def names_of(self, ours: Iterable[str], depths: Depths) -> dict[str, str | None]:
        ours = list(ours)
        between = [s for s in range(1, len(depths)) if f"stages.{s}.embed.weight" in ours]

        def renumbered(name: str) -> str:
            match = re.fullmatch(r"stages\.([1-9]\d*)\.(.+)", name)
            if not match:
                return name
            place = int(match[1]) + sum(s <= int(match[1]) for s in between) - match[2].startswith("embed.")
            return f"stages.{place}.{match[2]}"

        return {name: self.name_of(renumbered(name), depths) for name in ours}


VIP_RELEASE = NetworkLayout(
    source="vip",
    family="vip",
    mark="network.0.0.attn.",
    renames=[
        (rf"stages\.0\.embed\.{LAST}", "patch_embed.proj.{p}"),
        (rf"stages\.(?P<s>\d+)\.embed\.{LAST}", "network.{s}.proj.{p}"),
        (rf"{STAGE}token_norm\.{LAST}", "network.{s}.{i}.norm1.{p}"),
        (rf"{STAGE}token_mix\.along_rows\.{LAST}", "network.{s}.{i}.attn.mlp_h.{p}"),
        (rf"{STAGE}token_mix\.along_columns\.{LAST}", "network.{s}.{i}.attn.mlp_w.{p}"),
        (rf"{STAGE}token_mix\.along_channels\.{LAST}", "network.{s}.{i}.attn.mlp_c.{p}"),
        (rf"{STAGE}token_mix\.fuse\.(?P<f>fc[12])\.{LAST}", "network.{s}.{i}.attn.reweight.{f}.{p}"),
        (rf"{STAGE}token_mix\.proj\.{LAST}", "network.{s}.{i}.attn.proj.{p}"),
        (rf"{STAGE}channel_norm\.{LAST}", "network.{s}.{i}.norm2.{p}"),
        (rf"{STAGE}channel_mlp\.(?P<f>fc[12])\.{LAST}", "network.{s}.{i}.mlp.{f}.{p}"),
        (rf"norm\.{LAST}", "norm.{p}"),
        (rf"head\.{LAST}", "head.{p}"),
    ],
)
LAYOUTS = (VIP_RELEASE,)
