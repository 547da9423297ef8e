"""Recipes: dataclasses ↔ TOML, strict, and wrong in words."""

import string
import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allmlp.errors import RecipeError
from allmlp.models import list_models
from allmlp.recipe import MOST_BYTES, Augment, Data, Optim, Recipe, Train, load_recipe, packaged_recipes, recipe_from
from allmlp.training.main import merged
from allmlp.translation.model import VARIANTS as TRANSLATORS
from helpers import attempt


def loaded(text: str, folder: Path) -> Recipe:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return load_recipe(folder / "mine.toml")


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert loaded("", tmp_path) == Recipe()


def test_a_field_is_read_by_the_name_that_earlier_versions_had(tmp_path: Path) -> None:
    old = tmp_path / "old.toml"
    old.write_text("[train]\npatience = 30\n")
    assert load_recipe(old) == Recipe(train=Train(process_timeout=30.0))
    assert "patience" not in load_recipe(old).to_toml()
    with pytest.raises(RecipeError, match=r"train.patience is the old name of train.process_timeout"):
        recipe_from({"train": {"patience": 30, "process_timeout": 30}})
    for fields in ({"train": {"patience": 30}}, {"train.patience": 30}):
        with pytest.warns(FutureWarning, match=r"train.patience is called train.process_timeout now"):
            assert merged(Recipe(train=Train(process_timeout=5.0)), fields).train.process_timeout == 30.0


def test_a_recipe_says_only_what_differs(tmp_path: Path) -> None:
    text = 'model = "mixer_xs"\nhyper = {drop_path = 0.1}\n[data]\nimg_size = [32, 48]\n[optim]\nlr = 1\nbetas = [0.9, 0.99]\n'
    expected = Recipe(
        model="mixer_xs",
        hyper={"drop_path": 0.1},
        data=Data(img_size=(32, 48)),
        optim=Optim(lr=1.0, betas=(0.9, 0.99)),
    )
    recipe = loaded(text, tmp_path)
    assert recipe == expected
    assert isinstance(recipe.optim.lr, float)
    assert isinstance(recipe.data.img_size, tuple)


words = st.text(string.printable + "äπ✓\u2028", max_size=12)
sizes = st.integers(1, 512)
shares = st.floats(0, 1)
recipes = st.builds(
    Recipe,
    model=words,
    hyper=st.dictionaries(words, st.integers(-5, 5) | st.floats(-5, 5) | words | st.booleans(), max_size=3),
    seed=st.integers(0, 2**63 - 1),
    data=st.builds(
        Data,
        img_size=st.none() | st.tuples(sizes, sizes),
        in_chans=st.sampled_from([None, 1, 3]),
        val_share=st.floats(0.01, 0.99),
        mean=st.none() | st.tuples(shares) | st.tuples(shares, shares, shares),
        std=st.none() | st.tuples(st.floats(0.01, 1)),
        crop_ratio=st.none() | st.floats(0.01, 1),
        interpolation=st.sampled_from(["bicubic", "bilinear", "lanczos"]),
        workers=st.none() | st.integers(0, 64),
    ),
    augment=st.builds(
        Augment,
        crop=st.sampled_from(["auto", "resized", "pad", "none"]),
        min_area=st.floats(0.01, 1),
        padding=st.integers(0, 16),
        flip=shares,
        auto=words,
        mixup=st.floats(0, 2),
        mix_off=st.integers(0, 9),
    ),
    optim=st.builds(
        Optim,
        name=st.sampled_from(["adamw", "lamb", "sgd", "muon"]),
        lr=st.floats(1e-9, 10),
        betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        warmup=st.floats(0, 20),
    ),
    train=st.builds(Train, epochs=sizes, limit=st.none() | sizes, precision=st.sampled_from(["auto", "fp32", "bf16"])),
)


@given(recipe=recipes)
def test_a_recipe_survives_toml_to_the_last_bit(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("recipe") / "r.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8", newline="")
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("[optim]\nlrr = 1", "optim.lrr is not a field", "did you mean optim.lr?"),
        ("[optim]\nepochs = 1", "optim.epochs is not a field", "did you mean train.epochs?"),
        ("lr = 1", "lr is not a field", "did you mean optim.lr?"),
        ("[train]\nEpochs = 1", "train.Epochs is not a field", "did you mean train.epochs?"),
        ("modell = 'x'", "modell is not a field", "did you mean model?"),
        ("[trian]\nepochs = 1", "trian is not a field", "did you mean train?"),
        ("train = 3", "train is not a table", "write [train] above its fields"),
        ("[train]\nepochs = 'ten'", "train.epochs is 'ten'", "give a whole number"),
        ("[train]\nepochs = 10.0", "train.epochs is 10.0", "give a whole number"),
        ("[train]\nepochs = true", "train.epochs is True", "give a whole number"),
        ("[train]\nepochs = 0", "train.epochs is 0", "use a value ≥ 1"),
        ("[train]\nsmoothing = 1.0", "train.smoothing is 1.0", "use a value ≥ 0 and < 1"),
        ("[train]\nema = true", "train.ema is True", "give a number"),
        ("[train]\nprecision = 'fp8'", "train.precision is 'fp8'", "bf16"),
        ("[train]\naccumulate = 0", "train.accumulate is 0", "use a value ≥ 1"),
        ("[train]\nrecompute = 1", "train.recompute is 1", "give true or false"),
        ("[train]\nthreshold = 1.0", "train.threshold is 1.0", "use a value ≥ 0 and < 1"),
        ("[train]\nretry = -1", "train.retry is -1", "use a value ≥ 0"),
        ("[distill]\nmode = 'firm'", "distill.mode is 'firm'", "hard, soft"),
        ("[distill]\nshare = 0", "distill.share is 0.0", "use a value > 0 and ≤ 1"),
        ("[distill]\ntemperature = 0", "distill.temperature is 0.0", "use a value > 0"),
        ("[train]\nlimit = 0", "train.limit is 0", "use a value ≥ 1"),
        ("[optim]\nname = 'adamm'", "optim.name is 'adamm'", "did you mean adam?"),
        ("[optim]\nname = 3", "optim.name is 3", "choose one of adagrad, adam, adamw, lamb, momentum, muon, sgd"),
        ("[optim]\nlr = 0", "optim.lr is 0.0", "use a value > 0"),
        ("[optim]\nlr = nan", "optim.lr is nan", "use a value > 0"),
        ("[optim]\nlr = inf", "optim.lr is inf", "use a value > 0"),
        ("[optim]\nbetas = [0.9]", "optim.betas is [0.9]", "a list of"),
        ("[optim]\nbetas = [0.9, 1.0]", "optim.betas are (0.9, 1.0)", "two values in [0, 1)"),
        ("[optim]\nbetas = [0.9, 'x']", "optim.betas is 'x'", "give a number"),
        ("[data]\nimg_size = 32", "data.img_size is 32", "a list of"),
        ("[data]\nimg_size = [32, 32.5]", "data.img_size is 32.5", "give a whole number"),
        ("[data]\nin_chans = 4", "data.in_chans is 4", "1 (grey) or 3 (RGB)"),
        ("[data]\nval_share = 1", "data.val_share is 1.0", "use a value > 0 and < 1"),
        ("[data]\ncrop_ratio = 1.5", "data.crop_ratio is 1.5", "use a value > 0 and ≤ 1"),
        ("[data]\nmean = [0.5, 0.5]", "data.mean has 2 values", "one value a channel"),
        ("[data]\nmean = []", "data.mean has 0 values", "one value a channel"),
        ("[data]\nstd = [0.0]", "data.std has a value that is not positive", "standard deviations"),
        ("[data]\nstd = [nan]", "data.std has a value that is not positive", "standard deviations"),
        ("[data]\nworkers = -1", "data.workers is -1", "use a value ≥ 0"),
        ("[augment]\nflip = 1.5", "augment.flip is 1.5", "use a value ≥ 0 and ≤ 1"),
        ("[augment]\nmin_area = 0", "augment.min_area is 0.0", "use a value > 0 and ≤ 1"),
        ("[augment]\ncrop = 'cut'", "augment.crop is 'cut'", "choose one of auto, none, pad, resized"),
        ("[augment]\nauto = 9", "augment.auto is 9", "give text in quotes"),
        ("seed = -1", "seed is -1", "use a value ≥ 0"),
        ("hyper = 3", "hyper is 3", "give "),
    ],
)
def test_a_mistake_is_named_by_field_with_what_fits(text: str, what: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        loaded(text, tmp_path)
    assert error.value.what == f"mine.toml: {what}"
    assert hint in error.value.hint


@pytest.mark.parametrize(
    "text", ["[optim", "lr == 3", "a = 1\na = 2", "a = " + "[" * 5000], ids=["open", "syntax", "twice", "deep"]
)
def test_what_is_not_toml_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"mine\.toml is not TOML") as error:
        loaded(text, tmp_path)
    assert error.value.hint


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is not TOML"):
        load_recipe(tmp_path / "a.toml")


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("#" * (MOST_BYTES + 1))
    with pytest.raises(RecipeError, match="is larger than 1,000,000 bytes"):
        load_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize("source", ["no-such-recipe", "folder/none.toml", "", "."])
def test_a_recipe_that_is_not_there_is_refused(source: str) -> None:
    with pytest.raises(RecipeError, match="is neither a file nor a recipe of allmlp's"):
        load_recipe(source)


junk: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from(
    [("seed",), ("model",), ("hyper",), *[("data", n) for n in Data.__dataclass_fields__]]
    + [("augment", n) for n in Augment.__dataclass_fields__]
    + [("optim", n) for n in Optim.__dataclass_fields__]
    + [("train", n) for n in Train.__dataclass_fields__]
)


@given(path=field_names, value=junk)
def test_any_value_is_taken_or_refused_in_words(path: tuple[str, ...], value: object) -> None:
    table: Any = value
    for name in reversed(path):
        table = {name: table}
    recipe, error = attempt(RecipeError, recipe_from, table)
    if error:
        assert ".".join(path) in error.what
        assert error.hint
    else:
        for name in path:
            recipe = getattr(recipe, name)
        assert recipe == (tuple(value) if isinstance(value, list) else value)


@given(table=st.dictionaries(words, junk, max_size=3))
def test_any_table_is_a_recipe_or_a_recipe_error(table: dict[str, Any]) -> None:
    _, error = attempt(RecipeError, recipe_from, table)
    assert error.hint if error else set(table) <= set(Recipe.__dataclass_fields__)


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Recipe().seed = 1  # type: ignore[misc]


def test_every_field_says_what_it_is() -> None:
    source = Path(Recipe.__init__.__globals__["__file__"]).read_text(encoding="utf-8").splitlines()
    for group in (Data, Augment, Optim, Train):
        for name in group.__dataclass_fields__:
            (line,) = (i for i, text in enumerate(source) if text.startswith(f"    {name}: ") and group_of(source, i) == group)
            assert source[line + 1].startswith('    """'), f"{group.__name__}.{name}"


def group_of(source: list[str], line: int) -> type | None:
    """The dataclass in whose body a line stands."""
    header = next(text for text in reversed(source[:line]) if text.startswith("class "))
    return {g.__name__: g for g in (Data, Augment, Optim, Train)}.get(header.split()[1].rstrip(":"))


@pytest.mark.parametrize("name", packaged_recipes())
def test_packaged_recipes_are_pages_that_name_a_model_of_ours(name: str) -> None:
    text = packaged_recipes()[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert text.startswith("#")
    recipe = load_recipe(name)
    assert recipe == load_recipe(f"{name}.toml") == recipe_from(tomllib.loads(text))
    assert recipe.model in (list_models() if recipe.translation is None else TRANSLATORS)
