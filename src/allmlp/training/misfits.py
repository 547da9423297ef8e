"""What a recipe asks for and the run is too short for: values that are meant for longer runs, said before it begins."""

from allmlp.recipe import Recipe
from allmlp.training.optim import MOST_WARMUP, WARMUP, decaying_steps, warmup_steps


def misfits(recipe: Recipe, steps: int) -> list[str]:
    """One line for each value of the recipe that the run never gets to. steps: in an epoch."""
    optim, augment, epochs = recipe.optim, recipe.augment, recipe.train.epochs
    total, warmup = decaying_steps(optim, steps, epochs), warmup_steps(optim, steps, epochs)
    found = []
    if optim.cooldown >= epochs:
        found.append(f"cooldown {optim.cooldown:g} of {epochs} epochs: all steps but the first are at optim.min_lr")
    elif warmup >= total:
        found.append(
            f"warm-up  {warmup / steps:.3g} of {epochs} epochs: the learning rate never reaches optim.lr; "
            f"leave --optim.warmup away, or give --optim.warmup {MOST_WARMUP * epochs:g}"
        )
    elif optim.warmup is None and optim.warmup_steps is None and MOST_WARMUP * epochs < WARMUP:
        found.append(
            f"warm-up  {MOST_WARMUP * epochs:g} epochs, a tenth of the run; {WARMUP:g} in longer ones (--optim.warmup)"
        )
    if augment.mix_off >= epochs and (augment.mixup or augment.cutmix):
        found.append(f"mixing   is off in the last {augment.mix_off} epochs, and there are {epochs}: no images are mixed")
    if recipe.dino is not None:
        dino = recipe.dino
        if dino.teacher_warmup >= epochs and dino.teacher_temperature[0] != dino.teacher_temperature[1]:
            found.append(
                f"teacher  its temperature takes {dino.teacher_warmup:g} epochs to its end, and there are {epochs} "
                "(--dino.teacher-warmup)"
            )
        if dino.freeze_last >= epochs:
            found.append(
                f"head     its last layer is frozen for {dino.freeze_last:g} epochs, and there are {epochs}: it learns nothing"
            )
    return found
