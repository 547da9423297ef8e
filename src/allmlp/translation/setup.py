"""A recipe and sentences → everything the training loop works with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from timm.utils import ModelEmaV3
from torch.amp import GradScaler

from allmlp.data.keys import seed_everything
from allmlp.engine.device import best_device
from allmlp.errors import RecipeError
from allmlp.recipe import Augment, Data, Distill, Recipe, Translation
from allmlp.training.distributed import Team, spread
from allmlp.training.optim import optimiser, schedule
from allmlp.training.plan import Plan
from allmlp.training.products import chosen_precision, chosen_products
from allmlp.training.sizes import Sizes
from allmlp.translation.batches import Sentences, sentences, text_batches
from allmlp.translation.model import create_translator
from allmlp.translation.pairs import open_pairs
from allmlp.translation.task import Translating
from allmlp.translation.vocabulary import Vocabulary

NO_SIZE = Sizes((0,), ((1, 1),))
"""Sentences have none, so that it never changes."""


@dataclass(frozen=True)
class Text:
    """Sentences to learn from, and others to measure by."""

    folder: Path
    vocabulary: Vocabulary
    train: Sentences
    val: Sentences


def translation_of(recipe: Recipe) -> Translation:
    """Raises RecipeError for a recipe that is not for sentences, or says what means nothing for them."""
    spec, train = recipe.of_sentences(), recipe.train
    wrong = {
        "dino": recipe.dino is not None,
        "augment": recipe.augment != Augment(),
        "data": recipe.data != Data(),
        "distill": recipe.distill != Distill(),
        "init": recipe.init is not None,
        "optim.layer_decay": recipe.optim.layer_decay != 1,
        "train.sizes": bool(train.sizes),
        "train.objective": (train.objective, train.threshold, train.head_bias) != ("ce", None, 0.0),
        "train.parallel": train.parallel == "fsdp",
        "train.recompute": train.recompute,
        "train.compile": train.compile,
        "train.limit": train.limit is not None,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise RecipeError(f"{name} means nothing for sentences", hint=f"leave {name} away")
    return spec


def vocabulary_of(folder: Path, recipe: Recipe) -> Vocabulary:
    """Learnt from both languages of the folder's train. Raises DataError."""
    spec = translation_of(recipe)
    pairs = open_pairs(folder, "train", (spec.source, spec.target))
    return Vocabulary.learnt((*pairs.source, *pairs.target), spec.vocabulary)


def text_of(folder: Path, recipe: Recipe, vocabulary: Vocabulary) -> Text:
    """The folder's train and val, as pieces. Raises DataError."""
    spec = translation_of(recipe)
    train, val = (
        sentences(open_pairs(folder, split, (spec.source, spec.target)), vocabulary, spec.longest) for split in ("train", "val")
    )
    return Text(folder, vocabulary, train, val)


def make_plan(recipe: Recipe, text: Text, team: Team) -> Plan:
    """Raises RecipeError, ModelError or DataError for what does not fit together.

    The learning rate is taken as it stands: a step's size is counted in pieces here, not in images.
    """
    spec = translation_of(recipe)
    seed_everything(recipe.seed, "weights")
    device = best_device()
    hyper = {"longest": spec.longest, **recipe.hyper}
    model: Any = create_translator(recipe.model, vocabulary=len(text.vocabulary), **hyper).to(device)
    share: dict[str, int] = {"rank": team.rank, "world": team.size}
    train = text_batches(text.train, spec.tokens, seed=recipe.seed, **share)
    val = text_batches(text.val, spec.tokens, seed=None, **share)
    precision = team.by_first(lambda: chosen_precision(recipe.train, device, model))
    parallel = "ddp" if team.size > 1 else "none"
    forward = spread([model], parallel, device, team)
    made = optimiser(model, recipe.optim, recipe.optim.lr_batch)
    steps = train.batch_sampler.steps  # type: ignore[union-attr]
    # The loop asks nothing of batches, source and model that these have not: what is of images, its task answers for.
    return Plan(
        recipe=recipe,
        source=cast(Any, text),
        team=team,
        model=model,
        forward=forward,
        parallel=parallel,
        ema=ModelEmaV3(model, decay=recipe.train.ema, use_warmup=True) if recipe.train.ema else None,
        train_batches=cast(Any, train),
        val_batches=cast(Any, val),
        task=Translating(),
        distiller=None,
        optimiser=made,
        scaler=GradScaler(device.type, enabled=precision == "fp16"),
        schedule=schedule(made, recipe.optim, batch=recipe.optim.lr_batch, steps=steps, epochs=recipe.train.epochs),
        device=device,
        precision=precision,
        products=team.by_first(lambda: chosen_products(recipe.train, device, precision)),
        steps=steps,
        sizes=NO_SIZE,
    )
