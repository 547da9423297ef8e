"""What a training run is made of: frozen dataclasses."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate, pairwise
from math import isfinite
from typing import Any, Literal

import tomli_w

from allmlp.errors import RecipeError
from allmlp.recipe.bounds import within
from allmlp.recipe.dino import Dino
from allmlp.recipe.translation import Translation


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images, and how they reach the model."""

    img_size: tuple[int, int] | None = None
    """Height and width of the model's input in pixels. None: the data's own for small sets, else the model's."""
    in_chans: int | None = None
    """1 (grey) or 3 (RGB). None: as the data is."""
    range: tuple[float, float] | None = None
    """The values of deep images (16 and 32 bits, floats) that become 0 and 255. None: the 0.1th and 99.9th percentile of the
    training images'."""
    page: int | None = None
    """Which page of TIFF files is read, from 1. None: the only one; files of several pages are refused."""
    val_share: float = 0.1
    """Share of each class held out for validation where the data has no val folder, in (0, 1)."""
    drop_duplicates: bool = False
    """Leave out of training the images that are validation or test images as well, to the byte."""
    layout: Literal["auto", "classes"] = "auto"
    """"auto": folders called train, val or test in whatever wording are splits. "classes": every folder is a class."""
    mean: tuple[float, ...] | None = None
    """Per channel, of pixels in [0, 1]. None: the model family's."""
    std: tuple[float, ...] | None = None
    """Per channel, of pixels in [0, 1]. None: the model family's."""
    crop_ratio: float | None = None
    """Share of the resized image that evaluation keeps, in (0, 1]. None: the family's, or 1 below 65 pixels."""
    crop_mode: Literal["center", "squash", "border"] | None = None
    """How evaluation makes pictures fit: "center" crops, "squash" resizes to the input's shape, "border" pads. None: the
    family's, which is "center"."""
    interpolation: Literal["bicubic", "bilinear", "lanczos"] | None = None
    """How pictures are resized. None: as the model family does."""
    max_bad_share: float = 0.01
    """Largest share of unreadable images that a run puts up with, in [0, 1]; one image in any case unless it is 0."""
    workers: int | None = None
    """Processes that decode and augment. None: as many as cores, at most 8; none for small sets in memory."""

    @property
    def opening(self) -> dict[str, Any]:
        """How the images are opened, for `open_source`: the same for training as for everything after it."""
        return {"val_share": self.val_share, "drop_duplicates": self.drop_duplicates, "layout": self.layout}

    def __post_init__(self) -> None:
        within(self, "val_share", above=0, below=1)
        within(self, "max_bad_share", least=0, most=1)
        within(self, "workers", least=0)
        within(self, "crop_ratio", above=0, most=1)
        within(self, "page", least=1)
        if self.range is not None and not (self.range[0] < self.range[1] and all(map(isfinite, self.range))):
            raise RecipeError(f"data.range is {list(self.range)}", hint="give two numbers, the lower one first")
        if self.in_chans not in (None, 1, 3):
            raise RecipeError(f"data.in_chans is {self.in_chans}", hint="use 1 (grey) or 3 (RGB)")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, 3):
                raise RecipeError(f"data.{name} has {len(values)} values", hint="give one value a channel")
        if self.std is not None and not all(value > 0 for value in self.std):
            raise RecipeError("data.std has a value that is not positive", hint="give standard deviations of pixels in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes to training images."""

    crop: Literal["auto", "resized", "pad", "none"] = "auto"
    """"resized": a random part, resized; "pad": shifted by up to `padding`; "auto": pad below 65 pixels."""
    min_area: float = 0.08
    """Least share of the picture that a "resized" crop takes, in (0, 1]."""
    padding: int = 4
    """Pixels by which a "pad" crop may shift."""
    flip: float = 0.5
    """Probability of mirroring left to right."""
    color_jitter: float = 0.0
    """Strength of random brightness, contrast and saturation, in [0, 1]."""
    auto: str = ""
    """timm's name of a policy, such as "rand-m9-mstd0.5-inc1" or "3a" (three-augment, DeiT III); "ta_wide" (TrivialAugment) or
    "cifar10" (AutoAugment's for CIFAR-10); empty for none. All but "3a" take the place of `color_jitter`."""
    repeats: int = 1
    """How often each image stands in a batch, changed anew each time (repeated augmentation); an epoch has as many steps as
    without, and sees one image in so many."""
    erase: float = 0.0
    """Probability of erasing a random rectangle."""
    cutout: int = 0
    """Side in pixels of a square of the mean colour laid over every image, partly outside it at times; 0 for none."""
    mixup: float = 0.0
    """Mixup's α; 0 for none."""
    cutmix: float = 0.0
    """CutMix's α; 0 for none."""
    mix_prob: float = 1.0
    """Share of the batches that are mixed at all."""
    mix_off: int = 0
    """Last epochs without mixup and CutMix."""

    def __post_init__(self) -> None:
        for name in ("flip", "erase", "color_jitter", "mix_prob"):
            within(self, name, least=0, most=1)
        for name in ("padding", "cutout", "mixup", "cutmix", "mix_off"):
            within(self, name, least=0)
        within(self, "repeats", least=1)
        within(self, "min_area", above=0, most=1)

    @property
    def changes_nothing(self) -> bool:
        """Whether every image is the same in every epoch."""
        whole = self.crop == "none" or (self.crop == "pad" and not self.padding)
        changes = (self.flip, self.color_jitter, self.auto, self.erase, self.cutout, self.mixup, self.cutmix)
        return whole and not any(changes)


@dataclass(frozen=True, kw_only=True)
class Optim:
    """Optimiser and learning rate. Vectors (biases, norms, Affine, LayerScale) never decay."""

    name: Literal["adamw", "adam", "adagrad", "lamb", "sgd", "momentum", "muon"] = "adamw"
    """timm's optimiser. "adam" decays through the gradient; "sgd" has Nesterov's momentum, "momentum" the plain one; "muon"
    makes each matrix's step orthogonal (Jordan et al., 2024) and moves vectors as Adam does, at rates like AdamW's."""
    lr: float = 1e-3
    """Peak learning rate at `lr_batch` images per step; it scales with the batch."""
    lr_batch: int = 256
    """Images per step for which `lr` is meant."""
    weight_decay: float = 0.05
    """Weight decay of matrices, decoupled in "adamw" and "lamb"."""
    weight_decay_end: float | None = None
    """Where a cosine takes it by the end of the run. None: it stays."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's and LAMB's; the first is the momentum of SGD and Muon."""
    warmup: float = 5.0
    """Epochs of linear warm-up."""
    warmup_steps: int | None = None
    """Steps of linear warm-up, in place of `warmup`. None: `warmup` says."""
    decay: Literal["cosine", "linear"] = "cosine"
    """How the rate goes down to `min_lr` after the warm-up."""
    cooldown: float = 0.0
    """Last epochs at `min_lr`."""
    min_lr: float = 1e-5
    """Learning rate at the end, and before the warm-up; scaled as `lr`."""
    layer_decay: float = 1.0
    """By what the rate of each block is multiplied once more than that of the block above it; 1: all learn at one rate."""
    clip: float = 1.0
    """Largest norm of the whole gradient; 0 for none."""

    def __post_init__(self) -> None:
        within(self, "lr", above=0)
        within(self, "lr_batch", least=1)
        for name in ("weight_decay", "weight_decay_end", "warmup", "warmup_steps", "cooldown", "min_lr", "clip"):
            within(self, name, least=0)
        within(self, "layer_decay", above=0, most=1)
        if self.weight_decay_end is not None and not self.weight_decay:
            raise RecipeError("optim.weight_decay_end begins at 0", hint="give an optim.weight_decay above 0 to begin with")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"optim.betas are {self.betas}", hint="give two values in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, in which steps, and which weights are kept."""

    epochs: int = 50
    """Passes over the training images."""
    batch: int = 128
    """Images per step, over all processes."""
    sizes: tuple[tuple[int, int, float], ...] = ()
    """Smaller pictures first: height, width and share of the epochs of each stage before the last, which has
    `data.img_size` and the rest (docs/decisions/0009)."""
    limit: int | None = None
    """At most this many training images, drawn evenly from the classes. None: all."""
    shots: int | None = None
    """At most this many training images of each class, drawn by the seed; those of fewer shots are among those of more.
    None: all."""
    accumulate: int = 1
    """In how many parts each step's images pass through the model, one after the other: less memory, the same step."""
    recompute: bool = False
    """Keep only the blocks' inputs and compute the rest again for the gradients: less memory, a third more time."""
    objective: Literal["ce", "bce", "bce_sum"] = "ce"
    """Cross-entropy, or binary cross-entropy of each class, averaged or summed over the classes."""
    threshold: float | None = None
    """Share of a target above which a class counts as wholly there, in [0, 1): 0.2 with "bce" in ResNet strikes back."""
    head_bias: float = 0.0
    """Where the biases of a new head begin: -log(classes - 1), say, for "bce" to begin with equal probabilities."""
    smoothing: float = 0.1
    """Label smoothing, in [0, 1)."""
    ema: float = 0.0
    """Decay per step of the running mean of the weights, in [0, 1); 0 for none."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """"auto": bf16 on processors that are far faster in it (AMX tiles, or AVX-512's bf16 on AMD's), for models of 96 channels
    or more; else fp32. "fp16" scales the loss, and is for GPUs."""
    products: Literal["auto", "torch", "onednn"] = "auto"
    """What multiplies float32 on a CPU. "auto": oneDNN on AMD's processors with AVX-512, where it is twice as fast as torch's
    own matmuls; else torch (docs/decisions/0010)."""
    compile: bool = False
    """Take the steps through torch.compile: code made for this model joins what lies between its products. The first step then
    takes a minute or more; it needs a C++ compiler (docs/decisions/0015)."""
    retry: int = 0
    """How often a run whose loss leaves all bounds goes back to the end of the last epoch, each time at half the learning
    rate."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """With several processes: whole copies (DDP), or shards of weights and optimiser (FSDP2). "auto": shards from 100 M
    parameters on."""
    patience: float = 600.0
    """With several processes: seconds that one waits for another before it says that it hangs, and ends; half of them for a
    batch from --data.workers, which are started again then."""
    save_seconds: float = 300.0
    """Seconds between checkpoints inside an epoch; each epoch ends with one."""
    save_steps: int | None = None
    """Steps between checkpoints, besides those. None: by time alone."""
    keep: int = 2
    """Checkpoints that are kept: should the last be damaged, training goes on from the one before."""
    log_every: int = 50
    """Steps between the lines of steps.jsonl and the points of trackers."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate", "limit", "shots", "save_steps", "keep", "log_every"):
            within(self, name, least=1)
        for name in ("retry", "save_seconds"):
            within(self, name, least=0)
        within(self, "patience", least=1)
        for name in ("smoothing", "threshold", "ema"):
            within(self, name, least=0, below=1)
        if self.compile and self.recompute:
            raise RecipeError("train.compile and train.recompute do not go together", hint="give one of them")
        if self.limit is not None and self.shots is not None:
            raise RecipeError("train.limit and train.shots both say how many images", hint="give one of them")
        if any(min(stage) <= 0 for stage in self.sizes) or sum(share for *_, share in self.sizes) > 1 - 1e-9:
            raise RecipeError(
                f"train.sizes are {list(map(list, self.sizes))}",
                hint="give height, width and share of each stage before the last; shares are > 0 and sum to less than 1",
            )
        if not all(begin < end for begin, end in pairwise((*self.stage_begins, self.epochs))):
            raise RecipeError(
                f"{self.epochs} epochs leave a stage of train.sizes without any", hint="train longer, or name fewer stages"
            )

    @property
    def stage_begins(self) -> tuple[int, ...]:
        """The first epoch, from 0, of each stage of `sizes` and of the last."""
        ends = accumulate((share for *_, share in self.sizes), initial=0.0)
        return tuple(round(end * self.epochs) for end in ends)


@dataclass(frozen=True, kw_only=True)
class Distill:
    """A teacher, whose answers to the same changed images the model learns along with the labels."""

    teacher: str | None = None
    """A run folder or its .safetensors, a released checkpoint's name, a name of timm's, or one of cifar_resnet20 to 110.
    None: labels alone."""
    teacher_weights: str | None = None
    """The file with the weights of an architecture that `teacher` names. None: those timm knows where to fetch."""
    mode: Literal["hard", "soft"] = "hard"
    """"hard": the teacher's decision as a second label (ResMLP, DeiT); "soft": its probabilities (Hinton et al.)."""
    share: float = 0.5
    """The teacher's share of the loss, in (0, 1]; the labels have the rest."""
    temperature: float = 3.0
    """Of "soft": by what both sides' logits are divided."""
    img_size: tuple[int, int] | None = None
    """Height and width of what the teacher sees, in pixels. None: as it was trained."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """In which the teacher computes. "auto": bf16 on processors that are far faster in it, for networks of 256 channels."""
    cache: bool = False
    """Ask the teacher once for each image and keep its answers in a file; for images that are never changed."""
    cache_folder: str | None = None
    """Where that file lies, for several runs to share. None: in the run folder."""

    def __post_init__(self) -> None:
        within(self, "share", above=0, most=1)
        within(self, "temperature", above=0)
        if self.teacher_weights is not None and self.teacher is None:
            raise RecipeError("distill.teacher_weights has no teacher", hint="name its architecture as distill.teacher")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run, apart from the images themselves."""

    model: str = "resmlp_xs"
    """A name from `allmlp models`."""
    hyper: dict[str, Any] = field(default_factory=dict)
    """Hyper-parameters of the model that differ from the variant's, such as drop_path."""
    init: str | None = None
    """A run folder, or a .safetensors file with its JSON, whose model and weights training starts from. The model is
    resized to `data.img_size`; a head for other classes starts anew."""
    freeze: Literal["none", "backbone", "all-but-norms"] = "none"
    """What of `init` stays as it is: all but the head ("backbone"), or all but the head and the norms, Affine among them."""
    seed: int = 0
    """Decides the split, the initial weights, and every random change."""
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    distill: Distill = field(default_factory=Distill)
    dino: Dino | None = None
    """Learning without labels, by `allmlp pretrain`. None: labels are learnt."""
    translation: Translation | None = None
    """Sentences in the place of images, by `allmlp translate train`."""

    def __post_init__(self) -> None:
        within(self, "seed", least=0, most=2**63 - 1)
        if self.freeze != "none" and self.init is None:
            raise RecipeError(f"freeze is {self.freeze!r}, and nothing was learnt yet", hint="give a trained model as init")
        if self.distill.cache and not self.augment.changes_nothing:
            raise RecipeError(
                "distill.cache needs images that never change",
                hint='leave it away, or use augment.crop = "none" and flip = 0 and no other change',
            )

        if self.dino is not None:
            self._check_pretraining()

    def _check_pretraining(self) -> None:
        """What has a meaning for labels alone is left as it is."""
        usual = Train()
        alone = {
            "augment": self.augment == Augment(),
            "distill": self.distill == Distill(),
            "freeze": self.freeze == "none",
            **{
                f"train.{name}": getattr(self.train, name) == getattr(usual, name)
                for name in ("objective", "threshold", "head_bias", "smoothing", "ema", "sizes")
            },
        }
        wrong = [name for name, is_usual in alone.items() if not is_usual]
        if wrong:
            raise RecipeError(
                f"{wrong[0]} means nothing without labels", hint=f"leave {wrong[0]} away; [dino] has the changes of its views"
            )

    def without_labels(self) -> Dino:
        """How to learn from images alone. Raises RecipeError for a recipe that does not say."""
        if self.dino is None:
            raise RecipeError(
                "this recipe has no [dino] table, which says how to learn without labels",
                hint="use one of allmlp's own that begin with dino-, or add the table",
            )
        return self.dino

    def of_sentences(self) -> Translation:
        """How to learn from sentences. Raises RecipeError for a recipe that does not say."""
        if self.translation is None:
            raise RecipeError(
                "this recipe has no [translation] table, which names the languages",
                hint="use one of allmlp's own with -mt- in its name, or add the table",
            )
        return self.translation

    def flat(self) -> dict[str, Any]:
        """Every value by its dotted name, lists where TOML has lists."""
        return dict(_flat("", asdict(self)))

    def to_toml(self) -> str:
        """The text `load_recipe` reads; fields that are None are left out."""
        return tomli_w.dumps(_without_none(asdict(self)))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value
