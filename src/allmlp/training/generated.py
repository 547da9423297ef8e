"""The forward pass, and with it the backward one, as code that torch.compile makes for it."""

import torch
from torch import Tensor

from allmlp.engine.backends.inductor import has_compiler
from allmlp.errors import RecipeError, TrainingError
from allmlp.training.distributed import Forward

PIECES = 256
"""Of code that torch may keep for one piece of Python: one for each block where random depth differs, and FSDP2 parts them."""


class Generated:
    """The same results but for the order of sums, for steps of `rows` images. Others, of which pictures could not be read, say,
    take the plain way: code for every size would take a minute each, and which of them has any must not depend on the past.

    The model itself, by which a run is judged, stays as it is. Raises RecipeError where there is no C++ compiler; called, it
    raises TrainingError where no code can be made.
    """

    def __init__(self, plain: Forward, rows: int) -> None:
        if not has_compiler():
            raise RecipeError("train.compile needs a C++ compiler", hint="install g++, or leave train.compile away")
        torch.compiler.reset()  # code of an earlier plan counts against the pieces that torch keeps
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, PIECES)
        self.plain, self.rows = plain, rows
        self.made: Forward = torch.compile(plain, dynamic=False)

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        if len(images) != self.rows:
            return self.plain(images)
        try:
            return self.made(images)
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            first = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise TrainingError(f"torch.compile makes no code here: {first}", hint="leave train.compile away") from error


def uncompiled(forward: Forward) -> Forward:
    """The forward pass that generated code was made of, DDP around it where there are several processes."""
    return forward.plain if isinstance(forward, Generated) else forward
