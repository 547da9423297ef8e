"""How often the intervals of the house hold the truth, where it is known, and how often its tests err.

    python benchmarks/intervals.py [--samples 1000] [--json intervals.json]

Shares and their differences: exactly, over all samples there can be. The rest: counted over samples of made-up models whose
truth is known. The command prints the tables of docs/benchmarks/intervals.md; two cores take about ten minutes.
"""

# axes: n images, k classes

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allmlp.calibration import calibrated
from allmlp.intervals import mean_interval, paired_interval, skewed_mean_interval, wilson_interval
from allmlp.paired import BINS, estimates, exact_p, holm, image_scores
from allmlp.strict_json import to_json

Values = NDArray[np.float64]
Generator = np.random.Generator


def binomial(n: int, p: float) -> Values:
    """Probabilities of 0 … n right ones."""
    if p in (0.0, 1.0):
        return np.eye(n + 1)[n if p else 0]
    k = np.arange(n + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    return np.exp(logs + k * math.log(p) + (n - k) * math.log1p(-p))


def shares() -> list[dict[str, Any]]:
    """Wilson's interval of top-1, top-5, accuracies of classes and of bins, under corruption and pruning."""
    rows = []
    for n in (10, 20, 50, 100, 1000, 10_000):
        bounds = np.array([wilson_interval(k / n, n) for k in range(n + 1)])

        def held(p: float, n: int = n, bounds: Values = bounds) -> float:
            return float(binomial(n, p) @ ((bounds[:, 0] <= p) & (p <= bounds[:, 1])))

        grid = np.linspace(0.0025, 0.9975, 200)
        ends = np.linspace(0.05 / n, 5 / n, 100)  # 0.05 to 5 expected among n
        row = {f"p = {p:g}": held(p) for p in (0.5, 0.1, 0.9, 0.99)}
        rows.append({"images": n, **row, "mean over p": _mean(held, grid), "mean near 0 and 1": _mean(held, ends)})
    return rows


def _mean(function: Callable[[float], float], values: Values) -> float:
    return float(np.mean([function(float(value)) for value in values]))


def differences(samples: int) -> list[dict[str, Any]]:
    """Tango's interval of a difference of shares on the same images; p, q: what one model alone gets right."""
    generator, rows = np.random.default_rng(1), []
    for n in (20, 100, 1000, 10_000):
        row: dict[str, Any] = {"images": n}
        for p, q in ((0.3, 0.2), (0.1, 0.1), (0.05, 0.02), (0.01, 0.01), (0.9, 0.05)):
            drawn = generator.multinomial(n, [p, q, 1 - p - q], 4 * samples)[:, :2]
            kinds, counts = np.unique(drawn, axis=0, return_counts=True)
            bounds = [paired_interval(int(b), int(c), n) for b, c in kinds]
            row[f"{p:g}, {q:g}"] = sum(c for c, (a, b) in zip(counts, bounds, strict=True) if a <= q - p <= b) / (4 * samples)
        rows.append(row)
    return rows


def sampled_losses(kind: str, n: int, generator: Generator) -> tuple[Values, float]:
    """(losses of n images, their true mean)."""
    if kind == "exponential":
        return generator.exponential(1, n), 1.0
    if kind == "log-normal":
        return generator.lognormal(0, 1, n), math.exp(0.5)
    wrong = float(kind.removesuffix(" % wrong")) / 100
    values = np.where(generator.random(n) < wrong, generator.gamma(2, 1.5, n), generator.exponential(0.03, n))
    return values, 3 * wrong + 0.03 * (1 - wrong)


def losses(samples: int) -> list[dict[str, Any]]:
    """Hall's interval of a mean loss."""
    return _means(samples, ("exponential", "log-normal", "30 % wrong", "10 % wrong", "2 % wrong"), skewed_mean_interval, False)


def loss_differences(samples: int) -> list[dict[str, Any]]:
    """Student's interval of the mean difference of two models' losses, of which a half is alike."""
    return _means(samples, ("exponential", "log-normal", "30 % wrong", "10 % wrong", "2 % wrong"), mean_interval, True)


def _means(samples: int, kinds: tuple[str, ...], interval: Any, paired: bool) -> list[dict[str, Any]]:
    generator, rows = np.random.default_rng(2), []
    for n in (20, 50, 100, 300, 1000):
        row: dict[str, Any] = {"images": n}
        for kind in kinds:
            held = 0
            for _ in range(2 * samples):
                values, truth = sampled_losses(kind, n, generator)
                if paired:
                    other, _ = sampled_losses(kind, n, generator)
                    values, truth = 0.5 * (other - values), 0.0
                low, high = interval(values)
                held += low <= truth <= high
            row[kind] = held / (2 * samples)
        rows.append(row)
    return rows


CONFIDENCES: dict[str, Callable[[int, Generator], Values]] = {
    "even": lambda n, g: g.uniform(0.1, 1, n),
    "sure": lambda n, g: 1 - 0.9 * g.beta(0.4, 2.5, n),
    "middling": lambda n, g: 0.2 + 0.8 * g.beta(3, 3, n),
}
CURVES: dict[str, Callable[[Values], Values]] = {
    "calibrated": lambda c: c,
    "a little too sure": lambda c: c - 0.05 * np.minimum(1, 4 * c * (1 - c) + 0.3),
    "too sure by 15 %": lambda c: 0.85 * c,
    "right in c^1.6": lambda c: c**1.6,
    "now too sure, now too careful": lambda c: (c + 0.18 * np.sin(2 * np.pi * c) * (1 - c) * np.minimum(3 * c, 1)).clip(0, 1),
    "wrong in one bin": lambda c: np.where((c > 0.6) & (c < 0.7334), c - 0.3, c),
}
"""Confidence → the share that is right."""


def excess_of(confidence: Values, right: NDArray[np.bool_]) -> Values:  # n, n → n q
    found = np.zeros((len(confidence), BINS))
    found[np.arange(len(confidence)), np.minimum((confidence * BINS).astype(int), BINS - 1)] = confidence - right
    return found


def true_error(draw: Callable[[int, Generator], Values], curve: Callable[[Values], Values]) -> float:
    """Of the binned error, from two million images without the chance of being right."""
    confidence = draw(2_000_000, np.random.default_rng(9))
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, confidence - curve(confidence), BINS)).sum() / len(confidence))


def old_interval(excess: Values, generator: Generator) -> tuple[float, float, float]:
    """What `compare` gave until 0.9: the plain error, and the basic bootstrap cut at 0."""
    n = len(excess)
    value = float(np.abs(excess.mean(0)).sum())
    counts = generator.multinomial(n, np.full(n, 1 / n), 400)
    low, high = np.quantile(np.abs(counts @ excess / n).sum(1), [0.025, 0.975])
    return value, max(2 * value - high, 0.0), max(2 * value - low, 0.0)


def calibration(samples: int) -> list[dict[str, Any]]:
    """The calibration error's interval; how far the estimate and the plain error are off on average, in points."""
    generator, rows = np.random.default_rng(3), []
    for spread, draw in CONFIDENCES.items():
        for name, curve in CURVES.items():
            truth = true_error(draw, curve)
            row: dict[str, Any] = {"confidences": spread, "model": name, "true error": truth}
            for n in (50, 200, 1000, 5000):
                few = max(samples // 4 if n < 5000 else samples // 8, 1)
                held = old = outside = 0
                off, plain, width = 0.0, 0.0, 0.0
                for number in range(few):
                    confidence = draw(n, generator)
                    excess = excess_of(confidence, generator.random(n) < curve(confidence))
                    found = calibrated(excess, draws=500)
                    held += found.low - 1e-12 <= truth <= found.high
                    off, width = off + (found.value - truth) / few, width + (found.high - found.low) / few
                    plain += (float(np.abs(excess.mean(0)).sum()) - truth) / few
                    if n <= 1000 and number % 2 == 0:
                        value, low, high = old_interval(excess, generator)
                        old, outside = old + (low <= truth <= high), outside + (not low <= value <= high)
                row[f"{n}"] = {"held": held / few, "off": off, "plain": plain, "width": width}
                if n <= 1000:
                    row[f"{n}"] |= {"old": old / ((few + 1) // 2), "outside": outside / ((few + 1) // 2)}
            rows.append(row)
    return rows


def whole(samples: int) -> list[dict[str, Any]]:
    """All at once, as `compare` does it: logits of two models that err alike, through `image_scores` and `estimates`."""
    generator, rows, few = torch.Generator().manual_seed(5), [], max(samples // 4, 1)

    def models(n: int, scale: float) -> tuple[list[torch.Tensor], torch.Tensor]:
        image = scale * torch.randn(n, 10, generator=generator)
        labels = _drawn(image, generator)
        return [1.3 * image, 1.3 * image + 0.35 * scale * torch.randn(n, 10, generator=generator)], labels

    for scale in (2.0, 10.0):
        logits, labels = models(400_000, scale)
        truth = [image_scores(one, labels).mean(0) for one in logits]
        true = [[*one[:3], float(np.abs(one[3:]).sum())] for one in truth]
        for n in (50, 200, 1000):
            own, apart = np.zeros(4), np.zeros(3)
            for _ in range(few):
                logits, labels = models(n, scale)
                found = estimates(np.stack([image_scores(one, labels) for one in logits]), draws=500)
                for i in range(4):
                    low, high = found[0][1][i].bounds
                    own[i] += low <= true[1][i] <= high
                for i in range(3):
                    low, high = found[1][1][i].bounds
                    apart[i] += low <= true[1][i] - true[0][i] <= high
            names = ("top-1", "top-5", "loss", "calibration error")
            row: dict[str, Any] = {"true top-1": float(true[1][0]), "images": n}
            row |= dict(zip(names, (own / few).tolist(), strict=True))
            rows.append(row | dict(zip((f"Δ {name}" for name in names[:3]), (apart / few).tolist(), strict=True)))
    return rows


def _drawn(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:  # n k → n
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def tests(samples: int) -> list[dict[str, Any]]:
    """How often McNemar's test calls models different that are equally good, at 5 %; and any of six pairs after Holm."""
    generator, rows = np.random.default_rng(6), []
    for n, apart in ((50, 0.2), (200, 0.05), (1000, 0.02), (1000, 0.2), (10_000, 0.1)):
        drawn = generator.multinomial(n, [apart / 2, apart / 2, 1 - apart], 4 * samples)[:, :2]
        p = np.array([exact_p(int(b), int(c)) for b, c in drawn])
        models = generator.random((samples, 4, n)) < 0.7 if n <= 1000 else None
        any_of_six = None
        if models is not None:
            pairs = [(i, j) for i in range(4) for j in range(i)]
            wrongly = 0
            for one in models:
                ps = [exact_p(int((one[i] & ~one[j]).sum()), int((one[j] & ~one[i]).sum())) for i, j in pairs]
                wrongly += min(holm(ps)) <= 0.05
            any_of_six = wrongly / samples
        found = {"one pair": float((p <= 0.05).mean()), "any of six pairs (Holm)": any_of_six}
        rows.append({"images": n, "disagreements": apart, **found})
    return rows


def said(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['held']:.1%} ({100 * value['off']:+.1f}, {100 * value['plain']:+.1f})"
    return (
        "–"
        if value is None
        else f"{value:.1%}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else value
    )


def table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(said(row[name]) for name in names) + " |" for row in rows)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000, help="of each kind, about; more are surer")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    n = given.samples
    found: dict[str, list[dict[str, Any]]] = {}
    for name, made in {
        "shares": shares,
        "differences of shares": lambda: differences(n),
        "losses": lambda: losses(n),
        "differences of losses": lambda: loss_differences(n),
        "McNemar's test at 5 %": lambda: tests(n),
        "compare, all at once": lambda: whole(n),
        "calibration error": lambda: calibration(n),
    }.items():
        found[name] = made()
        print(f"\n## {name}\n\n{table(found[name])}", flush=True)
        if given.json is not None:
            given.json.write_text(to_json({"samples": n, "tables": found}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
