"""The run folder: where everything lies, written whole or not at all.

recipe.toml          every value the run used; training from it again repeats the run
run.json             command, data, seed, state ("running", "stopped", "finished"), best epoch
environment.json     versions, processor, threads, precision
data.json            classes, counts, split, files that were left out and why; a digest of the images' names, sizes and order
images.safetensors   check sums of each image's name and size, so that --resume can say which images changed
metrics.jsonl        one line per epoch
steps.jsonl          one line per --train.log-every steps; events.out.tfevents.*: the same for TensorBoard
log.txt              what was said on the screen
best.safetensors     weights with the best validation accuracy, and best.json beside them:
best.json            architecture, hyper-parameters, classes, preprocessing
last.safetensors     the same after the last epoch, with last.json
checkpoints/         EPOCH-STEP: all that `--resume` needs, the last --train.keep of them
diverged.safetensors images, labels and indices of the step whose loss left all bounds, if one did
teacher-….safetensors what the teacher answered about the training images, where the recipe keeps that
shrunk/              the model that allmlp shrink made of another, before it was trained further
shrink.json          what it was asked, and what it measured; shrink.svg draws it
masks.safetensors    which weights of a sparse run stay zero
unreadable.jsonl     images that could not be decoded, with the reason
evaluation/          SPLIT.json and pictures of mistakes
features/            DATA.json: what neighbours and a linear classifier make of the features
real.json            accuracy by ImageNet-ReaL's labels
robustness.json      accuracy on corrupted images, and robustness/ with pictures of them
datasheet.json       sizes of the images, and which of them are there twice
mixing/              a few rows of the token-mixing weights, EPOCH.safetensors
report.html          the page for people
training.lock        while it is trained: by which process, on which machine, since when
"""

import codecs
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.errors import RunError
from allmlp.files import half_written, whole_file, writing
from allmlp.strict_json import to_json
from allmlp.weights.files import write_tensors

BUNDLE = "bundle.json"
"""What a folder that `allmlp.export` wrote says of itself."""
LOCK = "training.lock"
"""Is held by the process that trains into the folder."""
PROBE = ".write-test"
"""Is made and removed to see whether a folder can be written."""
MOST_BYTES = 256_000_000
"""Of a JSON file: what the confusion matrix of eleven thousand classes comes to."""
ODD = "backslashreplace"
"""A file's name that is no UTF-8 becomes JSON's own way to write it, and is read back as it was."""
FORMAT = 1
"""Version of the JSON beside the weights; a reader refuses a newer one."""


@dataclass(frozen=True)
class Run:
    """Paths and records of one run folder. Reading raises RunError for what is missing or damaged."""

    folder: Path

    recipe = property(lambda self: self.folder / "recipe.toml")
    state = property(lambda self: self.folder / "run.json")
    environment = property(lambda self: self.folder / "environment.json")
    data = property(lambda self: self.folder / "data.json")
    metrics = property(lambda self: self.folder / "metrics.jsonl")
    log = property(lambda self: self.folder / "log.txt")
    steps = property(lambda self: self.folder / "steps.jsonl")
    checkpoints = property(lambda self: self.folder / "checkpoints")
    unreadable = property(lambda self: self.folder / "unreadable.jsonl")
    masks = property(lambda self: self.folder / "masks.safetensors")
    shrunk = property(lambda self: self.folder / "shrunk")
    diverged = property(lambda self: self.folder / "diverged.safetensors")
    evaluation = property(lambda self: self.folder / "evaluation")
    features = property(lambda self: self.folder / "features")
    real = property(lambda self: self.folder / "real.json")
    robustness = property(lambda self: self.folder / "robustness.json")
    datasheet = property(lambda self: self.folder / "datasheet.json")
    mixing = property(lambda self: self.folder / "mixing")
    report = property(lambda self: self.folder / "report.html")
    lock = property(lambda self: self.folder / LOCK)
    images = property(lambda self: self.folder / "images.safetensors")

    def weights(self, which: str = "best") -> Path:
        """ "best" or "last": the safetensors file; its JSON has the same name."""
        return self.folder / f"{which}.safetensors"

    @classmethod
    def open(cls, folder: "str | os.PathLike[str] | Run") -> "Run":
        """An existing run folder, or a run as it is. Raises RunError when there is none."""
        if not isinstance(folder, str | os.PathLike | Run):
            raise RunError(
                f"a run folder is expected here, not {type(folder).__name__}",
                hint="give the folder that allmlp train wrote, or what allmlp.train returned",
            )
        path = folder.folder if isinstance(folder, Run) else Path(folder)
        folder = path
        if not path.is_dir() or not (path / "run.json").is_file():
            raise RunError(f"{folder} is not a run folder", hint="give the folder that allmlp train wrote (it holds run.json)")
        return cls(path)

    @classmethod
    def create(cls, folder: str | os.PathLike[str], *, over: bool = False) -> "Run":
        """A new run folder. Raises RunError when something is there already or it cannot be written.

        over: a run may be there that came to nothing; its lines go, and what it was writing when it was killed.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            found = {each for each in path.iterdir() if each.name not in ("shrunk", LOCK)}
            stale = {path / PROBE, *half_written(path)} & found
            if over and ((path / "recipe.toml").is_file() or found == stale):
                for lines in (*path.glob("*.jsonl"), *stale):
                    lines.unlink()
            elif found:
                raise RunError(
                    f"{folder} is not empty", hint=f"choose another --out, or continue it: allmlp train --resume {folder}"
                )
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror}", hint="choose another --out") from None
        run = cls(path)
        run.check_writable()
        return run

    def check_writable(self) -> None:
        """Raises RunError when no file can be made in the folder: better before the work than after it."""
        probe = self.folder / PROBE
        with writing(self.folder):
            probe.touch()
            probe.unlink()

    def tidy(self) -> None:
        """Remove what a killed process was writing. Raises RunError when the folder cannot be written."""
        self.check_writable()
        with writing(self.folder):
            for stale in half_written(self.folder):
                stale.unlink(missing_ok=True)

    def told(self) -> dict[str, Any]:
        """What run.json says. Raises RunError where it is no record."""
        return read_record(self.state)

    def data_spec(self) -> str | None:
        """Where its images or sentences are; None: images that come with allmlp. Raises RunError where run.json is silent."""
        spec = read_record(self.state, "data_spec")["data_spec"]
        if not isinstance(spec, str | None):
            raise _no_record(self.state)
        return spec

    def append(self, file: Path, record: Mapping[str, Any]) -> None:
        """Add one JSON line, apart from a line before it that a crash cut short."""
        line = to_json(record, ascii_only=False) + "\n"
        with writing(file), file.open("ab+") as lines:
            if lines.tell():
                lines.seek(-1, os.SEEK_END)
                line = line if lines.read(1) == b"\n" else "\n" + line
            lines.write(line.encode(errors=ODD))

    def write_model(self, which: str, tensors: Mapping[str, Any], description: Mapping[str, Any]) -> None:
        """As the function of this name does, under the run's names."""
        write_model(self.weights(which), tensors, description)


def write_model(path: Path, tensors: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Weights (safetensors) and the JSON beside them that says what they are: both new, or, on a full disk, both as before."""
    with writing(path), whole_file(path.with_suffix(".json")) as words:
        _store(words, {"format": FORMAT, **description})
        write_tensors(path, tensors, {"format": "pt"})


def read_json(path: Path) -> Any:
    """Raises RunError when the file is missing, not JSON, or larger than anything that allmlp writes."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RunError(f"{path} is larger than {MOST_BYTES:,} bytes", hint="give the file that allmlp wrote")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing", hint="the run may have stopped before it was written; train again or resume"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {str(error)[:200]}", hint="restore the file, or train again") from None


def read_record(path: Path, *names: str) -> dict[str, Any]:
    """A JSON object that has these names. Raises RunError as `read_json` does, and for anything else."""
    record = read_json(path)
    if not isinstance(record, dict) or not record.keys() >= set(names):
        raise _no_record(path)
    return record


def _no_record(path: Path) -> RunError:
    return RunError(f"{path} is not what allmlp wrote there", hint="restore the file, or train again")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every whole JSON line; lines that a crash cut short are left out. Raises RunError for lines that are no text."""
    if not path.is_file():
        return []
    records = []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}", hint="make it readable, or restore it") from None
    for line in content.split(b"\n"):
        try:
            text, _ = codecs.utf_8_decode(line)  # as far as it goes: a letter cut at the end is no error
        except UnicodeDecodeError as error:
            raise RunError(f"{path} is not UTF-8: {error}", hint="restore the file, or remove it") from None
        try:
            records.append(json.loads(text))
        except (ValueError, RecursionError):
            continue
    return records


def write_json(path: Path, value: Any) -> None:
    """Indented, whole or not at all."""
    with writing(path), whole_file(path) as temporary:
        _store(temporary, value)


def _store(path: Path, value: Any) -> None:
    path.write_text(to_json(value, indent=2, ascii_only=False) + "\n", encoding="utf-8", errors=ODD)
