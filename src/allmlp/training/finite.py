"""Numbers that are none: in weights, running means, gradients and images."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from allmlp.data.loader import Batch
from allmlp.training.plan import Plan
from allmlp.weights.finite import not_finite


def broken_weights(plan: Plan) -> list[str]:
    """Names of what a checkpoint would hold of modules, such as model.head.weight, with a value that is not finite.

    Of this process's shards. One look at the device, which reads every number once.
    """
    modules = {name: part for name, part in plan.parts.items() if isinstance(part, nn.Module)}
    return _broken({f"{name}.{key}": value for name, part in modules.items() for key, value in part.state_dict().items()})


def broken_gradients(plan: Plan) -> list[str]:
    """The same of gradients, by their parameters' names."""
    return _broken({name: weight.grad for name, weight in plan.model.named_parameters() if weight.grad is not None})


def broken_images(plan: Plan, batch: Batch) -> list[str]:
    """The same of a batch's images, by where they come from. Sentences have no such numbers."""
    images = batch.tensors.get("images")
    if images is None or not len(batch.labels):
        return []
    bad = (~images.flatten(1).isfinite()).any(1)
    return [plan.source.train.name(int(index)) for index in batch.indices[bad]]


def _broken(tensors: Mapping[str, Tensor]) -> list[str]:
    """Of this process's shards."""
    return not_finite({name: value.to_local() if isinstance(value, DTensor) else value for name, value in tensors.items()})
