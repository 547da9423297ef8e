"""What a run says of its images, model and place before the first step, to people and in data.json."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from allmlp.data.damage import by_reason, in_words
from allmlp.data.images import Source
from allmlp.data.remarks import imbalance, numbers_of, remarks
from allmlp.run import Run
from allmlp.training.display import Display, counted
from allmlp.training.misfits import misfits
from allmlp.training.plan import Plan


def summarise(display: Display, plan: Plan, run: Run, about: Iterable[str]) -> None:
    """What a person checks before waiting: classes, counts, what was left out, where it all goes. about: the images."""
    source, model = plan.source, plan.model
    shown = ", ".join(source.classes[:10]) + (f" and {len(source.classes) - 10} more" if len(source.classes) > 10 else "")
    display.say(f"data     {source.title}: {numbers_of(source)} ({source.split})")
    display.say(f"classes  {len(source.classes)}: {shown}")
    found = remarks(source)
    if found:
        display.say(f"found    {'; '.join(found)}", "yellow")
    for line in about:
        display.say(line)
    if source.left_out:
        bad = counted(len(source.left_out), "unreadable image")
        display.say(f"         {bad} left out: {in_words(source.left_out)}", "yellow")
    size = "×".join(map(str, model.img_size))
    count = sum(p.numel() for p in model.parameters())
    how = plan.precision + (" by oneDNN" if plan.products == "onednn" else "")
    display.say(f"model    {model.name} at {size}, {count / 1e6:.2f} M parameters, {how} on {plan.device.type}")
    if plan.recipe.train.sizes:
        display.say(f"sizes    {plan.sizes}")
    if plan.distiller is not None:
        teacher = plan.distiller.teacher
        seen = "×".join(map(str, teacher.preprocessing.img_size))
        count = sum(p.numel() for p in teacher.net.parameters())
        display.say(f"teacher  {teacher.opened.title} at {seen}, {count / 1e6:.2f} M parameters, {teacher.precision}")
    if plan.team.size > 1:
        display.say(
            f"team     {plan.team.size} processes, {plan.parallel}, {plan.recipe.train.batch // plan.team.size} images each"
        )
    for line in misfits(plan.recipe, plan.steps):
        display.say(line, "yellow")
    length = f"{counted(plan.recipe.train.epochs, 'epoch')} of {counted(plan.steps, 'step')}"
    display.say(f"run      {run.folder}   seed {plan.recipe.seed}, {length}")


def describe(source: Source) -> dict[str, Any]:
    """What data.json says."""
    classes = len(source.classes)
    return {
        "source": source.title,
        "classes": list(source.classes),
        "in_chans": source.in_chans,
        "split": source.split,
        "train": {"images": len(source.train), "per_class": source.train.counts(classes)},
        "val": {"images": len(source.val), "per_class": source.val.counts(classes)},
        "test": None if source.test is None else {"images": len(source.test), "per_class": source.test.counts(classes)},
        "left_out": [{"path": path, "reason": reason} for path, reason in source.left_out[:1000]],
        "left_out_count": len(source.left_out),
        "left_out_reasons": by_reason(source.left_out),
        "ignored_files": source.ignored,
        "passed_over": dict(source.passed_over),
        "found": remarks(source),
        "imbalance": imbalance(source),
        "duplicates": None if source.duplicates is None else asdict(source.duplicates),
        "dropped_duplicates": source.dropped,
    }
