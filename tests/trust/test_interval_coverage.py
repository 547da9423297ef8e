"""How often the intervals that allmlp prints hold a truth that is known."""

import numpy as np
import pytest
import torch
from scorecard import Card, Fault

from allmlp.paired import estimates, exact_p, holm, image_scores

FAULT = Fault(
    250, "Intervals and p-values", "95 % intervals hold the truth in 93 to 97 of 100 samples, and every estimate its own"
)
CLASSES = 10
NAMES = ("top-1", "top-5", "loss", "calibration error")


def models(images: int, generator: torch.Generator) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Logits of two models that err alike, both too sure of themselves, and labels as the true probabilities draw them."""
    image = 2 * torch.randn(images, CLASSES, generator=generator)
    labels = torch.multinomial(image.softmax(1), 1, generator=generator)[:, 0]
    return [1.3 * image, 1.3 * image + 0.7 * torch.randn(images, CLASSES, generator=generator)], labels


@pytest.mark.slow
@pytest.mark.parametrize("images", [200, 1000])
def test_the_intervals_of_compare_hold_a_truth_that_is_known(images: int, card: Card) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = models(400_000, generator)
    scores = [image_scores(one, labels).mean(0) for one in logits]
    truth = [[*one[:3], float(np.abs(one[3:]).sum())] for one in scores]
    times = card.times(2000, 150)
    own, apart, outside = np.zeros(4), np.zeros(3), 0
    for _ in range(times):
        logits, labels = models(images, generator)
        found = estimates(np.stack([image_scores(one, labels) for one in logits]), draws=500)
        for i in range(4):
            one = found[0][1][i]
            low, high = one.bounds
            outside += not low <= one.value <= high
            own[i] += low <= truth[1][i] <= high
        for i in range(3):
            low, high = found[1][1][i].bounds
            apart[i] += low <= truth[1][i] - truth[0][i] <= high
    assert not outside
    error = 3 * (0.05 * 0.95 / times) ** 0.5  # of the count itself
    shares = {**dict(zip(NAMES, own / times, strict=True)), **{f"Δ {NAMES[i]}": apart[i] / times for i in range(3)}}
    assert all(0.93 - error <= share <= 0.97 + error for share in shares.values()), shares
    said = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    card.seen(f"two models on {images:,} images, samples drawn from a known truth", times, f"held: {said}; outside its own: 0")


def test_models_that_are_equally_good_are_seldom_called_different(card: Card) -> None:
    """Four models, each right in 70 % of the images whatever the others are."""
    generator, times = np.random.default_rng(0), card.times(10_000, 200)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    one_pair = any_pair = 0
    for _ in range(times):
        right = generator.random((4, 300)) < 0.7
        p = [exact_p(int((right[i] & ~right[j]).sum()), int((right[j] & ~right[i]).sum())) for i, j in pairs]
        one_pair += p[0] <= 0.05
        any_pair += min(holm(p)) <= 0.05
    most = 0.05 + 3 * (0.05 * 0.95 / times) ** 0.5
    assert one_pair / times <= most
    assert any_pair / times <= most
    card.seen(
        "McNemar's test at 5 % of models that are equally good, one pair and any of six pairs (Holm)",
        times,
        f"called different: {one_pair / times:.1%} and {any_pair / times:.1%}",
    )
