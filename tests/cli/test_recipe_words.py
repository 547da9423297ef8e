"""The words of a command → its recipe: short forms, files and single values together."""

from pathlib import Path

import pytest

from allmlp.commands.recipe_words import RecipeWords, recipe_and_words
from allmlp.recipe import Recipe


def recipe_of(*words: str) -> Recipe:
    return recipe_and_words(RecipeWords, list(words), command="train")[0]


@pytest.mark.parametrize("teacher", [["--teacher", "resnet50"], ["--teacher=resnet50"], ["--distill.teacher", "resnet50"]])
@pytest.mark.parametrize("teacher_first", [True, False])
def test_a_teacher_and_its_weights_may_come_in_any_order(teacher: list[str], teacher_first: bool) -> None:
    weights = ["--distill.teacher-weights", "r50.safetensors", "--distill.mode", "soft"]
    recipe = recipe_of(*(teacher + weights if teacher_first else weights + teacher))
    assert recipe.distill.teacher == "resnet50"
    assert recipe.distill.teacher_weights == "r50.safetensors"
    assert recipe.distill.mode == "soft"


def test_a_teacher_that_is_said_takes_the_place_of_the_recipes(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('model = "mixer_xs"\n[distill]\nteacher = "resnet18"\nmode = "soft"\n')
    recipe = recipe_of("--recipe", str(file), "--teacher", "resnet50")
    assert (recipe.model, recipe.distill.teacher, recipe.distill.mode) == ("mixer_xs", "resnet50", "soft")


@pytest.mark.parametrize("words", [["--train.patience", "30"], ["--train.patience=30"]])
def test_an_option_of_an_earlier_version_works_and_is_told_its_name_of_today(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert recipe_of(*words).train.process_timeout == 30
    assert capsys.readouterr().err == "--train.patience is called --train.process-timeout now\n"


def test_help_knows_the_name_of_today_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        recipe_of("--help")
    said = capsys.readouterr().out
    assert "--train.process-timeout" in said
    assert "patience" not in said


def test_one_number_is_a_square_image() -> None:
    assert recipe_of("--img-size", "48").data.img_size == (48, 48)
    assert recipe_of("--img-size", "24", "48").data.img_size == (24, 48)
