"""The forward pass, and with it the backward one, as code that torch.compile makes for it."""

import torch
from torch.nn.parallel import DistributedDataParallel

from allmlp.engine.backends.inductor import has_compiler
from allmlp.errors import RecipeError
from allmlp.training.distributed import Forward


def generated(forward: Forward) -> Forward:
    """The same results but for the order of sums. Code is made at the first call, and again for a batch of another size;
    the model itself, by which a run is judged, stays as it is.

    Raises RecipeError where there is no C++ compiler.
    """
    if not has_compiler():
        raise RecipeError("train.compile needs a C++ compiler", mend="install g++, or leave train.compile away")
    torch.compiler.reset()  # code of an earlier plan counts against the few versions that torch keeps
    if isinstance(forward, DistributedDataParallel):
        forward.compile(dynamic=False)
        return forward
    made: Forward = torch.compile(forward, dynamic=False)
    return made
