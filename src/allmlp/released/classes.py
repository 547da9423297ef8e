"""Names of the classes of ImageNet, CIFAR-10 and Fashion-MNIST, in the order of the released checkpoints' outputs."""

from functools import lru_cache

from allmlp.data.fashion import CLASSES
from allmlp.errors import WeightsError, one_of

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""In the order of its files."""
DATA_SETS = ("cifar10", "fashion-mnist", "imagenet-1k", "imagenet-21k-goog", "imagenet-21k-miil")


@lru_cache(maxsize=4)
def class_names(data_set: str) -> tuple[str, ...]:
    """ImageNet's are "tench (n01440764)", …: the first word for a class and its WordNet id, which alone is unique.

    data_set: one of DATA_SETS. Raises WeightsError for another.
    """
    if data_set not in DATA_SETS:
        raise WeightsError(f"the classes of {data_set!r} are not known", hint=one_of(DATA_SETS, data_set))
    if data_set == "cifar10":
        return CIFAR10
    if data_set == "fashion-mnist":
        return CLASSES
    from timm.data import ImageNetInfo

    info = ImageNetInfo(data_set)
    return tuple(
        f"{info.index_to_description(i).split(', ')[0]} ({info.index_to_label_name(i)})" for i in range(info.num_classes())
    )
