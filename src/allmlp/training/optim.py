"""timm's optimisers and schedule, from a recipe."""

import math
from typing import Any, Protocol

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler, PolyLRScheduler
from torch import nn

from allmlp.recipe import Optim

WARMUP, MOST_WARMUP = 5.0, 0.1
"""Epochs of the warm-up where the recipe names none, and the largest share of the run that these may take."""


class Schedule(Protocol):
    """Sets the optimiser's rate for a step of the run, which alone decides it."""

    def step_update(self, num_updates: int) -> None: ...


def optimiser(model: nn.Module, optim: Optim, batch: int) -> torch.optim.Optimizer:
    """Parameters of one axis and those of `no_weight_decay` do not decay.

    The peak rate is `lr` times batch / lr_batch. Affine, LayerScale, norms and biases are vectors here.
    With `layer_decay` blocks below learn at lower rates (`group_matcher`; BEiT, Bao et al., 2022).
    LAMB moves what does not decay as Adam does, without a trust ratio (as NVIDIA's, with which ResMLP was trained).
    Muon scales its orthogonal steps to the size that AdamW's have, 0.2 on average (Liu et al., 2025), convolutions as matrices;
    embeddings move as by Adam.
    """
    extra: dict[str, Any] = {} if optim.name in ("sgd", "momentum") else {"betas": optim.betas}
    if optim.name in ("sgd", "momentum", "muon"):
        extra["momentum"] = optim.betas[0]
    if optim.name == "muon":  # a row of an embedding is a vector, and few rows move in a step
        tables = [name for name, module in model.named_modules() if isinstance(module, nn.Embedding)]
        extra["fallback_list"] = [f"{name}.weight" for name in tables]
    if optim.name == "adamw":
        extra["fused"] = True  # one pass over the weights, on CPUs too
    if optim.layer_decay < 1:
        extra["layer_decay"] = optim.layer_decay
    if optim.name == "lamb":
        extra["max_grad_norm"] = None  # the step clips, by `clip`; timm's would clip at 1 besides
    known = {"muon": "nmuon"}.get(optim.name, optim.name)  # with Nesterov's momentum, as Muon was published
    made: torch.optim.Optimizer = create_optimizer_v2(
        model, opt=known, lr=optim.lr * batch / optim.lr_batch, weight_decay=optim.weight_decay, **extra
    )
    return made


def peak(made: torch.optim.Optimizer) -> float:
    """The learning rate of the layers that learn fastest, which is what the recipe's is."""
    return float(max(group["lr"] for group in made.param_groups))


def warmup_steps(optim: Optim, steps: int, epochs: int) -> int:
    """Steps of linear warm-up that the recipe asks for. steps: in an epoch."""
    if optim.warmup_steps is not None:
        return optim.warmup_steps
    return round((min(WARMUP, MOST_WARMUP * epochs) if optim.warmup is None else optim.warmup) * steps)


def decaying_steps(optim: Optim, steps: int, epochs: int) -> int:
    """Steps before the cooldown, at least one. steps: in an epoch."""
    return max(steps * epochs - round(optim.cooldown * steps), 1)


def schedule(made: torch.optim.Optimizer, optim: Optim, *, batch: int, steps: int, epochs: int) -> Schedule:
    """Linear warm-up, then a cosine or a line to `min_lr`, and the last epochs there; a function of the step alone."""
    total = decaying_steps(optim, steps, epochs)
    common: dict[str, Any] = dict(
        t_initial=max(total, 2),  # of a single step timm would say that there is nothing to schedule
        lr_min=optim.min_lr * batch / optim.lr_batch,
        warmup_t=min(warmup_steps(optim, steps, epochs), total - 1),
        warmup_lr_init=optim.min_lr * batch / optim.lr_batch,
        t_in_epochs=False,
    )
    rates = PolyLRScheduler(made, power=1.0, **common) if optim.decay == "linear" else CosineLRScheduler(made, **common)
    return rates if optim.weight_decay_end is None else GrowingDecay(rates, made, optim, steps * epochs)


class GrowingDecay:
    """A schedule of rates, and a cosine from `weight_decay` to `weight_decay_end` (DINO, Caron et al., 2021)."""

    def __init__(self, rates: Schedule, made: torch.optim.Optimizer, optim: Optim, total: int) -> None:
        self.rates, self.made, self.total = rates, made, total
        self.ends = optim.weight_decay, optim.weight_decay_end or 0.0

    def step_update(self, num_updates: int) -> None:
        self.rates.step_update(num_updates)
        for group in self.made.param_groups:
            if group["weight_decay"]:  # of those that decay at all
                group["weight_decay"] = cosine(*self.ends, num_updates / self.total)


def cosine(first: float, last: float, done: float) -> float:
    """Half a period from the first value to the last. done: share of the way, in [0, 1]."""
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
