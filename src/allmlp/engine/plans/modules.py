"""For every family without a plan of its own: the model as it is, with its linear maps laid out for oneDNN."""

# axes: b images, c channels, h w pixels, k classes, i inputs, o outputs

import torch
from torch import Tensor, nn

from allmlp.engine.plans.layout import Folded, Plan, Setup
from allmlp.engine.plans.products import Product
from allmlp.nn.lowrank import LowRank
from allmlp.nn.mixing import AlongColumns, AlongTokens
from allmlp.nn.mlp import Mlp
from allmlp.nn.segments import SegmentsAlongColumns, SegmentsAlongRows


class PackedLinear(nn.Linear):
    """nn.Linear by a product that was laid out once, with the GELU that an Mlp has after it."""

    product: Product
    approximate: str | None
    """Of the GELU that follows, as torch has it; None where none does."""

    def pack(self, *, rows: int) -> None:
        self.product, self.approximate = Product(self.weight, self.bias, rows=rows, dtype=self.weight.dtype), None

    def forward(self, x: Tensor) -> Tensor:  # … i → … o
        rows = x.reshape(-1, x.shape[-1])
        done = self.product(rows) if self.approximate is None else self.product.gelu(rows, self.approximate)
        return done.view(*x.shape[:-1], -1)


_LINEAR = (nn.Linear, AlongTokens, AlongColumns, SegmentsAlongRows, SegmentsAlongColumns)
"""Those whose own forward ends in nn.Linear's."""
_PACKED: dict[type, type] = {
    kind: PackedLinear if kind is nn.Linear else type(f"Packed{kind.__name__}", (kind, PackedLinear), {}) for kind in _LINEAR
}


def _factored(mlp: Mlp) -> bool:
    """Whether one of its maps is two products."""
    return isinstance(mlp.fc1, LowRank) or isinstance(mlp.fc2, LowRank)


class ModulePlan(Plan):
    """The folded model in the wanted precision, a chunk of images at a time."""

    def __init__(self, folded: Folded, setup: Setup) -> None:
        super().__init__(setup)
        self.order = torch.channels_last if folded.CHANNELS_LAST else torch.contiguous_format
        self.folded = folded.to(dtype=setup.dtype, memory_format=self.order)
        for module in [m for m in folded.modules() if type(m) in _PACKED]:
            module.__class__ = _PACKED[type(module)]
            module.pack(rows=self.chunk * 256)
        mlps: list[Folded] = [m for m in folded.modules() if isinstance(m, Mlp) and not _factored(m)]
        for mlp in mlps:
            mlp.fc1.approximate, mlp.act = mlp.act.approximate, nn.Identity()
            for linear in (mlp.fc1, mlp.fc2):  # other modules may look into their weights, these do not
                del linear.weight, linear.bias

    def logits(self, images: Tensor) -> Tensor:  # b c h w → b k
        return self.folded(images.to(self.dtype, memory_format=self.order)).float()
