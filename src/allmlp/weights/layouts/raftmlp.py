"""RaftMLP: the release, with and without shortcuts."""

import re
from collections.abc import Mapping

from torch import Tensor

from allmlp.weights.layouts.table import Depths, Layout, inside


def _levels(theirs: Mapping[str, Tensor]) -> Depths:
    """How many levels there are; their blocks have numbers of their own, so no depth is needed."""
    numbers = {int(match[1]) for name in theirs if (match := re.match(r"levels\.(\d+)\.", name))}
    return (0,) * (max(numbers) + 1) if numbers else ()


_LEVELS = [
    ("stages.{s}.embed.proj.{p}", "levels.{s}.fn.0.fc.{p}"),
    *inside(
        "stages.{s}.blocks.{i}.",
        "levels.{s}.fn.{i+2}.",
        [
            ("vertical.norm.{p}", "1.norm.1.{p}"),
            ("vertical.mlp.fc1.{p}", "1.fn.0.{p}"),
            ("vertical.mlp.fc2.{p}", "1.fn.3.{p}"),
            ("horizontal.norm.{p}", "3.norm.1.{p}"),
            ("horizontal.mlp.fc1.{p}", "3.fn.0.{p}"),
            ("horizontal.mlp.fc2.{p}", "3.fn.3.{p}"),
            ("channel_norm.{p}", "5.norm.{p}"),
            ("channel_mlp.fc1.{p}", "5.fn.0.{p}"),
            ("channel_mlp.fc2.{p}", "5.fn.3.{p}"),
        ],
    ),
    ("head.{p}", "classifier.{p}"),
]
RAFTMLP_SHORTCUT = Layout(
    source="raft-mlp, shortcut",
    family="raftmlp",
    mark="heads.0.4.",
    depths=_levels,
    renames=[
        ("norm.{p}", "heads.{last}.1.{p}"),
        ("stages.{s}.shortcut.norm.{p}", "heads.{s}.1.{p}"),
        ("stages.{s}.shortcut.proj.{p}", "heads.{s}.4.{p}"),
        *_LEVELS,
    ],
)
RAFTMLP_RELEASE = Layout(
    source="raft-mlp",
    family="raftmlp",
    mark="levels.0.fn.0.fc.",
    renames=[("norm.{p}", "heads.0.1.{p}"), *_LEVELS],
)
LAYOUTS = (RAFTMLP_SHORTCUT, RAFTMLP_RELEASE)  # the first mark that is found wins
