"""A loaded model with all that answers requests, and its replacement by another while requests are under way."""

# axes: c channels, h w pixels, b images, k classes

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from allmlp.data.loader import Batch
from allmlp.engine.cost import parameters
from allmlp.engine.graph import Graph
from allmlp.engine.infer import finite_rows, stream
from allmlp.engine.kept import model_hash
from allmlp.engine.open import open_answering
from allmlp.engine.use import ENOUGH_ON_CUDA, ready
from allmlp.errors import ModelError
from allmlp.pixels.read import UnreadableImage, decode_image, probe_content
from allmlp.serving.batcher import Answer, Batcher
from allmlp.serving.pictures import Upload
from allmlp.serving.refused import Refused


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is loaded, and how; the same words again load what is there then."""

    run: str
    weights: str = "best"
    img_size: tuple[int, int] | None = None
    engine: str = "auto"
    batch: int = 32
    """Images that go through the model at a time, at most."""


class Served:
    """One model. `using` counts the requests that it is still to answer."""

    def __init__(self, source: Source, *, counted: Callable[[int], None] = lambda _: None, quiet: bool = True) -> None:
        """Raises RunError, WeightsError or EngineError for what cannot be loaded or run, ModelError without classes."""
        model = open_answering(source.run, which=source.weights, img_size=source.img_size)
        if not model.num_classes:
            raise ModelError("this model has no classes (num_classes=0)", hint="give it a head with reset_classifier")
        self.model = model
        self.network = None if isinstance(model, Graph) else model  # which can be looked into
        self.version = (model.digest if isinstance(model, Graph) else model_hash(model))[:12]
        self.name = f"{model.format} bundle" if isinstance(model, Graph) else model.name or model.family
        self.how = ready(model, source.engine, images=ENOUGH_ON_CUDA, batch=source.batch, quiet=quiet)
        self.classes = model.classes or tuple(map(str, range(model.num_classes)))
        self.loaded = datetime.now(UTC).isoformat(timespec="seconds")
        self.batcher = Batcher(self.probabilities, most=source.batch, counted=counted)
        self.mixing: dict[str, Any] | None = None
        self.using, self.replaced = 0, False
        self._warm()

    def _warm(self) -> None:
        """What is imported, allocated and packed for the first image is so before the first request."""
        blank = Image.new("RGB", (8, 8))
        if not np.isfinite(self.probabilities(self.model.preprocessing(blank)[None])).all():
            raise ModelError(
                f"the logits of {self.name} are not finite for a black image",
                hint="its weights are too large to compute with: serve an earlier checkpoint of that training",
            )

    def probabilities(self, images: Tensor) -> NDArray[np.float32]:  # b c h w → b k
        """NaN for an image whose logits are not finite."""
        count = torch.arange(len(images))
        batches = [Batch(images, count, count, [])]
        words: dict[str, Any] = {"device": self.how.device, "precision": self.how.precision, "engine": self.how.engine}
        ((logits, _),) = stream(self.model, batches, **words)
        return logits.softmax(-1).masked_fill(~finite_rows(logits)[:, None], float("nan")).numpy()

    def decoded(self, picture: Upload, pixels: int) -> Tensor:  # → c h w
        """A picture as the model takes it. Raises Refused for one that cannot be read, or declares more pixels."""
        try:
            width, height = probe_content(picture.content, picture.name).size
            if width * height > pixels:
                what = f"{picture.name} cannot be read: {width} × {height} pixels are more than {pixels:,}"
                raise Refused(413, what, hint="send it smaller")
            return self.model.preprocessing(decode_image(picture.content, picture.name, self.model.reading))
        except UnreadableImage as error:
            hint = "send a whole JPEG, PNG, WebP, BMP, TIFF or GIF file"
            raise Refused(422, f"{picture.name} cannot be read: {error.reason}", hint=hint) from None

    def best(self, answer: Answer, top: int, name: str) -> dict[str, Any]:  # k
        """The most probable classes, best first. Raises Refused for an image of this name whose logits are not finite."""
        if not np.isfinite(answer).all():
            hint = "look at the image's values; without values far out of range the model's weights are too large"
            raise Refused(422, f"the model's logits are not finite for {name}", hint=hint)
        order = np.argsort(-answer, kind="stable")[: min(top, len(answer))]
        return {"classes": [self.classes[i] for i in order], "probabilities": answer[order].tolist()}

    def record(self) -> dict[str, Any]:
        """For JSON."""
        model, network = self.model, self.network
        return {
            "name": self.name,
            "family": None if network is None else network.family,
            "version": self.version,
            "classes": list(self.classes),
            "img_size": list(model.img_size),
            "in_chans": model.in_chans,
            "parameters": None if network is None else parameters(network),
            "engine": self.how.described,
            "loaded": self.loaded,
        }

    def close_if_idle(self) -> None:
        if self.replaced and not self.using:
            self.batcher.close()


class Holder:
    """The model that new requests get. Whoever has begun with another one is answered by that."""

    def __init__(self, first: Served) -> None:
        self.current = first

    @contextmanager
    def use(self) -> Iterator[Served]:
        """The model of one request, which stays until the request is answered."""
        served = self.current
        served.using += 1
        try:
            yield served
        finally:
            served.using -= 1
            served.close_if_idle()

    def replace(self, new: Served) -> None:
        """From now on requests get this one."""
        old, self.current = self.current, new
        old.replaced = True
        old.close_if_idle()
