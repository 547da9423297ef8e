"""RaftMLP: the release, with and without shortcuts."""

from allmlp.weights.layouts.table import LAST, STAGE, Layout

_STAGES = [
    (rf"stages\.(?P<s>\d+)\.embed\.proj\.{LAST}", "levels.{s}.fn.0.fc.{p}"),
    (rf"{STAGE}vertical\.norm\.{LAST}", "levels.{s}.fn.{i+2}.1.norm.1.{p}"),
    (rf"{STAGE}vertical\.mlp\.fc1\.{LAST}", "levels.{s}.fn.{i+2}.1.fn.0.{p}"),
    (rf"{STAGE}vertical\.mlp\.fc2\.{LAST}", "levels.{s}.fn.{i+2}.1.fn.3.{p}"),
    (rf"{STAGE}horizontal\.norm\.{LAST}", "levels.{s}.fn.{i+2}.3.norm.1.{p}"),
    (rf"{STAGE}horizontal\.mlp\.fc1\.{LAST}", "levels.{s}.fn.{i+2}.3.fn.0.{p}"),
    (rf"{STAGE}horizontal\.mlp\.fc2\.{LAST}", "levels.{s}.fn.{i+2}.3.fn.3.{p}"),
    (rf"{STAGE}channel_norm\.{LAST}", "levels.{s}.fn.{i+2}.5.norm.{p}"),
    (rf"{STAGE}channel_mlp\.fc1\.{LAST}", "levels.{s}.fn.{i+2}.5.fn.0.{p}"),
    (rf"{STAGE}channel_mlp\.fc2\.{LAST}", "levels.{s}.fn.{i+2}.5.fn.3.{p}"),
    (rf"head\.{LAST}", "classifier.{p}"),
]
RAFTMLP_SHORTCUT = Layout(
    source="raft-mlp, shortcut",
    family="raftmlp",
    mark="heads.0.4.",
    renames=[
        *_STAGES,
        (rf"stages\.(?P<s>\d+)\.shortcut\.norm\.{LAST}", "heads.{s}.1.{p}"),
        (rf"stages\.(?P<s>\d+)\.shortcut\.proj\.{LAST}", "heads.{s}.4.{p}"),
        (rf"norm\.{LAST}", "heads.{last}.1.{p}"),
    ],
)
RAFTMLP_RELEASE = Layout(
    source="raft-mlp",
    family="raftmlp",
    mark="levels.0.fn.0.fc.",
    renames=[*_STAGES, (rf"norm\.{LAST}", "heads.0.1.{p}")],
)
LAYOUTS = (RAFTMLP_SHORTCUT, RAFTMLP_RELEASE)  # the first mark that is found wins
