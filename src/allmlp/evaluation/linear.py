"""A linear classifier on features that stay as they are, its learning rate chosen on training images held out.

As MAE's linear probe (He et al., 2022, appendix A.1): features are standardised; SGD with momentum, no weight decay, cosine to
zero. All rates of the sweep learn at the same time, each a classifier of its own.
"""

# axes: n images to learn from, q images asked about, c features, k classes

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.data.keys import generator
from allmlp.data.progress import watched

RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""For 256 images, as papers count; other batches in proportion."""
EPOCHS, BATCH, MOMENTUM = 90, 1024, 0.9
HELD_OUT = 0.1


@dataclass(frozen=True)
class Probe:
    """What came of it."""

    top1: float
    """On the images asked about, in [0, 1]."""
    rate: float
    sweep: dict[float, float]
    """Learning rate → top-1 on the training images that were held out."""

    def record(self) -> dict[str, Any]:
        """For JSON."""
        sweep = [{"lr": rate, "held_out_top1": value} for rate, value in self.sweep.items()]
        return {"top1": self.top1, "lr": self.rate, "sweep": sweep, "epochs": EPOCHS}


def linear_probe(
    features: Tensor,  # n c
    labels: Tensor,  # n
    asked: Tensor,  # q c
    due: Tensor,  # q
    *,
    classes: int,
    seed: int = 0,
    quiet: bool = False,
) -> Probe:
    """Learns on the n features, at least two, and is measured on the q others. The same seed gives the same answer."""
    mean, spread = features.mean(0), features.std(0).clamp_min(1e-6)
    features, asked = ((values - mean) / spread for values in (features, asked))
    order = torch.from_numpy(generator(seed, "probe", 0).permutation(len(labels)))
    count = max(1, int(HELD_OUT * len(labels)))
    held, kept = order[:count], order[count:]
    tried = _learnt(features[kept], labels[kept], RATES, classes, seed, "choosing the learning rate", quiet)
    sweep = {rate: _top1(tried[rate], features[held], labels[held]) for rate in RATES}
    best = max(sweep, key=lambda rate: sweep[rate])
    final = _learnt(features, labels, (best,), classes, seed, "learning the classifier", quiet)
    return Probe(_top1(final[best], asked, due), best, sweep)


def _learnt(
    features: Tensor, labels: Tensor, rates: tuple[float, ...], classes: int, seed: int, what: str, quiet: bool
) -> dict[float, nn.Linear]:
    batch = min(BATCH, len(labels))
    found = {rate: nn.Linear(features.shape[1], classes) for rate in rates}
    for classifier in found.values():
        nn.init.zeros_(classifier.weight)
        nn.init.zeros_(classifier.bias)
    groups = [{"params": classifier.parameters(), "lr": rate * batch / 256} for rate, classifier in found.items()]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    steps = EPOCHS * -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    orders = (torch.from_numpy(generator(seed, "probe", 1 + e).permutation(len(labels))) for e in range(EPOCHS))
    parts = (part for order in orders for part in order.split(batch))
    for part in watched(parts, total=steps, what=what, quiet=quiet):
        optimizer.zero_grad()
        for classifier in found.values():  # each loss has its own weights, so that they learn independently
            F.cross_entropy(classifier(features[part]), labels[part]).backward()
        optimizer.step()
        schedule.step()
    return found


@torch.inference_mode()
def _top1(classifier: nn.Linear, features: Tensor, labels: Tensor) -> float:
    return float((classifier(features).argmax(1) == labels).double().mean())
