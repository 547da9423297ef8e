"""A teacher's answers about every training image, asked once and kept in a file."""

# axes: n images, k classes

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from allmlp.data.images import ArrayImages, Images
from allmlp.data.loader import Batch
from allmlp.data.progress import watched
from allmlp.errors import DataError, RunError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.strict_json import to_json
from allmlp.training.distillation.teacher import Teacher
from allmlp.weights.files import write_tensors


def kept_answers(
    teacher: Teacher, batches: Iterable[Batch], images: Images, student: Preprocessing, folder: Path, *, steps: int, quiet: bool
) -> Tensor:  # → n k
    """From the file in `folder` where teacher, images and their preparation are those it was made with; else asked anew.

    batches: every image once, as in training. Images that cannot be read have answers that are not numbers.
    Raises RunError where the file cannot be written.
    """
    signature = _signature(teacher, images, student)
    path = folder / f"teacher-{signature[:16]}.safetensors"
    answers = _read(path, signature)
    if answers is not None:
        return answers
    answers = torch.full((len(images), len(teacher.outputs)), float("nan"))
    for batch in watched(batches, total=steps, what="asking the teacher", quiet=quiet):
        if len(batch.labels):
            answers[batch.indices] = found = teacher(batch.images).cpu()
            bad = batch.indices[~found.isfinite().all(1)]
            if len(bad):
                raise DataError(
                    f"the teacher's logits are not finite for {images.name(int(bad[0]))}",
                    hint="look at that image's values and leave it out, or choose another teacher",
                )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(path, {"logits": answers}, {"signature": signature})
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}", hint="choose another distill.cache_folder") from None
    return answers


def _read(path: Path, signature: str) -> Tensor | None:
    """None for a file that is missing, damaged, or of other images or another teacher."""
    try:
        with safe_open(path, framework="pt") as file:
            known = (file.metadata() or {}).get("signature")
            return file.get_tensor("logits") if known == signature else None
    except Exception:  # whatever it is, asking the teacher again repairs it
        return None


def _signature(teacher: Teacher, images: Images, student: Preprocessing) -> str:
    """A hash of all that decides the answers: weights, both sides' preparation, and the images.

    Images in memory count by their pixels, files by name, size and time of change.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(teacher.net.state_dict().items()):
        found.update(name.encode(errors="surrogateescape"))
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    plain = [
        type(teacher.net).__name__,
        teacher.outputs.tolist(),
        teacher.preprocessing.to_dict(),
        student.to_dict(),
        teacher.precision,
    ]
    found.update(to_json(plain).encode())
    if isinstance(images, ArrayImages):
        found.update(images.pixels.tobytes())
        return found.hexdigest()
    for index in range(len(images)):
        path = Path(images.name(index))
        known = path.stat() if path.is_file() else None
        found.update(f"{path} {known and (known.st_size, known.st_mtime_ns)}\n".encode(errors="surrogateescape"))
    return found.hexdigest()
