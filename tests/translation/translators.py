"""Small translators, and sentences for them."""

import torch
from torch import Tensor

from allmlp.translation.model import PAD, Translator, create_translator

SMALL = dict(dim=16, hidden=24, depth=2, heads=2, longest=12, dropout=0.0)
KINDS = ("resmlp_mt_xs", "transformer_mt_xs")


def small(name: str, **hyper: object) -> Translator:
    """With weights large enough for every path to count."""
    torch.manual_seed(0)
    model = create_translator(name, vocabulary=30, **{**SMALL, **hyper}).eval()  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.double()


def sentences(*lengths: int, longest: int | None = None) -> Tensor:  # → b n
    torch.manual_seed(1)
    rows = torch.full((len(lengths), longest or max(lengths)), PAD)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = torch.randint(4, 30, (length,))
    return rows
