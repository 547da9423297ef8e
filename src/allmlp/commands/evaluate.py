"""allmlp evaluate"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from allmlp.commands.words import Engines, pair, parse, print_json, print_table, say

MOST_CONFUSIONS = 5


@dataclass(frozen=True, kw_only=True)
class Words:
    """Measure a model on labelled images.

    DATA is what allmlp train takes; its classes are matched to the model's by name, and its test images are used,
    else its validation images, else all. Without it the run's own test images are used if it has any, else its
    validation images.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The run folder, its .safetensors file, an exported bundle, or a released checkpoint's name (allmlp models --released)."""
    data: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder, or the name of a data set."""
    weights: Literal["best", "last"] = "best"
    """Which weights of the run."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Resize the model to this size in pixels first; one number for both sides."""
    batch: int = 64
    """Images at a time."""
    engine: Engines = "auto"
    """What answers: the model as it is (eager), an engine, or the fastest here when there are many images (auto)."""
    knn: bool = False
    """Instead: how well nearest neighbours in feature space tell DATA's classes, whatever the model's are."""
    linear: bool = False
    """Instead, or besides: how well a linear classifier on the features does."""
    real: bool = False
    """Instead: DATA is ImageNet's validation images, and right is what ImageNet-ReaL's people saw in them."""
    json: bool = False
    """Print everything as JSON on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="evaluate")
    if given.real:
        return _real(given)
    return _features(given) if given.knn or given.linear else _classes(given)


def _classes(given: Words) -> int:
    from allmlp.evaluation.classification import evaluate

    result = evaluate(
        given.run, given.data, which=given.weights, img_size=pair(given.img_size), batch=given.batch, engine=given.engine
    )
    if given.json:
        print_json(result)
        return 0
    rows = [
        (row["class"], row["images"], _share(row["accuracy"]), _share(row["precision"]))
        for row in sorted(result["per_class"], key=lambda row: (row["accuracy"] is None, row["accuracy"]))
        if row["images"]
    ]
    print_table(("class", "images", "accuracy", "precision"), rows, right=("images", "accuracy", "precision"))
    five = f"   top-5 {result['top5']:.2%}" if len(result["per_class"]) > 5 else ""
    print(f"\n{result['data']}: {result['images']:,} images")
    print(f"top-1 {result['top1']:.2%}{five}   loss {result['loss']:.4f}   calibration error {result['calibration_error']:.2%}")
    error = result["calibration_error_debiased"]
    print(f"calibration error without what chance adds: {error['value']:.2%} [{error['low']:.2%}, {error['high']:.2%}]")
    for count, images, label, predicted in _confusions(result)[:MOST_CONFUSIONS]:
        print(f"{label} taken for {predicted}: {count} of {images}")
    _say_unreadable(result)
    return 0


def _real(given: Words) -> int:
    from allmlp.evaluation.classification import evaluate

    shared: dict[str, Any] = dict(which=given.weights, img_size=pair(given.img_size), batch=given.batch, engine=given.engine)
    result = evaluate(given.run, given.data, real=True, knn=given.knn, linear=given.linear, **shared)
    if given.json:
        print_json(result)
        return 0
    print(f"{result['data']}: {result['images']:,} images; {result['unlabelled']:,} without a label of ReaL left out")
    print(f"ReaL top-1 {result['top1']:.2%}   top-5 {result['top5']:.2%}")
    _say_unreadable(result)
    return 0


def _say_unreadable(result: dict[str, Any]) -> None:
    if result["unreadable"]:
        first = result["unreadable_files"][0]
        say(f"{result['unreadable']} images could not be read, such as {first['path']}: {first['reason']}")


def _features(given: Words) -> int:
    from allmlp.evaluation.classification import evaluate

    shared: dict[str, Any] = dict(which=given.weights, img_size=pair(given.img_size), batch=given.batch, engine=given.engine)
    result = evaluate(given.run, given.data, knn=given.knn, linear=given.linear, **shared)
    if given.json:
        print_json(result)
        return 0
    rows = [(f"{k} nearest neighbours", f"{top1:.2%}") for k, top1 in result.get("knn", {"top1": {}})["top1"].items()]
    if given.linear:
        rows.append((f"linear classifier, learning rate {result['linear']['lr']:g}", f"{result['linear']['top1']:.2%}"))
    print_table(("features told apart by", "top-1"), rows, right=("top-1",))
    told = f"{result['images']:,} {result['split']} images of {result['classes']} classes"
    print(f"\n{result['data']}: {told}, {result['training_images']:,} to learn from")
    return 0


def _confusions(result: dict[str, Any]) -> list[tuple[int, int, str, str]]:
    """(images confused, images of the class, true class, predicted class), most first."""
    names = [row["class"] for row in result["per_class"]]
    pairs = [
        (count, sum(row), names[i], names[j])
        for i, row in enumerate(result["confusion"])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
