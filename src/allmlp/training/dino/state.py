"""What DINO knows besides weights, the same in every process: the centre, and an epoch's sums over the teacher's answers."""

# axes: b batch, k outputs

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from allmlp.training.distributed import Team


@dataclass(frozen=True)
class Answers:
    """The teacher's in one epoch. Collapse shows in `information`, whichever of its two forms it takes: one output that wins
    for all images, or all outputs alike for each."""

    entropy: float
    """Of the answer to a part of an image, as a share of log k: 0 one output, 1 all alike."""
    information: float
    """By how much the entropy of the mean answer exceeds that, as a share of log k: 0 where all images get one answer."""
    spread: float
    """Standard deviation over images of an output before centring, averaged over outputs; cosines, hence at most 1."""


class State(nn.Module):
    """Buffers alone, so that a checkpoint holds them. Sums are in float64."""

    centre: Tensor
    total: Tensor
    mean: Tensor
    dull: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("total", torch.zeros(3, dtype=torch.float64))  # answers, their entropies and spreads
        self.register_buffer("mean", torch.zeros(outputs, dtype=torch.float64))  # the sum of answers
        self.register_buffer("dull", torch.zeros(1, dtype=torch.int64))  # epochs in a row without information
        self.waiting: Tensor | None = None
        """Sums of this process in the step so far: counts, entropies, spreads, then k logits and k answers."""

    def see(self, logits: Tensor, answers: Tensor, real: Tensor) -> None:  # b k, b k, b of 0 and 1
        """Count what the teacher made of one part of each image."""
        entropy = -(answers * answers.clamp_min(1e-30).log()).sum(1)
        spread = logits.std(0, correction=0).mean() * len(real)
        sums = torch.stack([real.sum(), (entropy * real).sum(), spread * real[0]])
        found = torch.cat([sums, real @ logits, real @ answers]).double()
        self.waiting = found if self.waiting is None else self.waiting + found

    def settle(self, team: Team, momentum: float) -> None:
        """Add up what all processes saw in this step, and move the centre."""
        if self.waiting is None:
            return
        found, self.waiting = team.total(self.waiting), None
        counts, logits, answers = found.split([3, self.outputs, self.outputs])
        self.centre.mul_(momentum).add_((logits / counts[0]).to(self.centre.dtype), alpha=1 - momentum)
        self.total += counts
        self.mean += answers

    def close(self, least: float) -> Answers:
        """What the epoch's sums say; they begin anew. least: information below which an epoch counts as dull."""
        _, entropy, spread = (self.total / self.total[0].clamp_min(1)).tolist()
        mean = self.mean / self.total[0].clamp_min(1)
        most = math.log(self.outputs) or 1.0
        together = float(-(mean * mean.clamp_min(1e-30).log()).sum())
        information = (together - entropy) / most
        self.dull.add_(1) if information < least else self.dull.zero_()
        self.total.zero_()
        self.mean.zero_()
        return Answers(entropy / most, information, spread)
