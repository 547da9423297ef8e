"""Robustness of a real run, and the pictures of mistakes it keeps."""

import numpy as np
import pytest
import torch
from PIL import Image

import allmlp
from allmlp.cli import main
from allmlp.data.duplicates import duplicates
from allmlp.data.images import ArrayImages
from allmlp.data.sheet import look
from allmlp.errors import DataError
from allmlp.evaluation.mistakes import by_pair
from allmlp.evaluation.robustness import in_bytes, measure_robustness, normalised
from allmlp.pixels.preprocess import Preprocessing
from allmlp.run import Run, read_json, read_lines, write_json
from helpers import picture

CLASSES = ("ant", "bee", "cow")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three classes of nearly the same colour; one training picture is a validation picture, too."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for part, count in (("train", 16), ("val", 10)):
        for i, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for j in range(count):
                pixels = 120 + 20 * i + generator.normal(0, 40, (20, 20, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / part / name / f"{j:02}.png")
    (folder / "val/ant/00.png").write_bytes((folder / "train/ant/00.png").read_bytes())
    (folder / "train/cow/01.png").write_bytes((folder / "train/bee/00.png").read_bytes())
    fields = {"hyper.dim": 16, "hyper.depth": 2, "data.img_size": (16, 16), "data.workers": 0}
    return allmlp.train(
        folder,
        model="resmlp_xs",
        out=folder / "run",
        quiet=True,
        **fields,
        **{"train.epochs": 2, "train.batch": 8, "train.log_every": 2},
    )


def test_undisturbed_accuracy_is_that_of_evaluate_and_batches_do_not_matter(run: Run) -> None:
    found = measure_robustness(run, quiet=True)
    again = measure_robustness(run, batch=7, quiet=True)
    evaluated = allmlp.evaluate(run.folder, quiet=True)
    assert found["clean"] == pytest.approx(evaluated["top1"])
    assert found["images"] == evaluated["images"] == 30
    assert found["corruptions"] == again["corruptions"]
    every = [value for row in found["corruptions"] for value in row["accuracy"]]
    assert found["mean"] == pytest.approx(sum(every) / 40)
    assert read_json(run.robustness)["corruptions"] == found["corruptions"]
    assert (run.folder / "robustness" / "contrast.png").is_file()


def test_bytes_and_normalised_images_are_each_others_inverse() -> None:
    spec = Preprocessing(img_size=(4, 5))
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(in_bytes(normalised(pixels, spec), spec), pixels)
    assert torch.allclose(normalised(pixels, spec)[0], spec(Image.fromarray(pixels[0].permute(1, 2, 0).numpy())), atol=1e-6)


def test_no_images_are_refused(run: Run) -> None:
    with pytest.raises(DataError, match="start at 1"):
        measure_robustness(run, images=0)


def test_every_confused_pair_has_a_turn_before_any_has_its_second() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 2, 0, 0])
    surest = np.array([3, 1, 0, 2, 4])
    # 0 → 1 twice, the others once: it comes first, then by the surest image
    assert list(by_pair(surest, labels, predicted)) == [(0, 1), (1, 3), (2, 2), (3, 4), (0, 0)]


def test_evaluation_keeps_small_pictures_of_each_confused_pair(run: Run) -> None:
    result = allmlp.evaluate(run.folder, quiet=True)
    wrong = np.array(result["confusion"])
    np.fill_diagonal(wrong, 0)
    found = {(one["label"], one["predicted"]) for one in result["examples"]}
    assert found == {(CLASSES[i], CLASSES[j]) for i, j in np.argwhere(wrong)}
    assert all((run.evaluation / one["picture"]).is_file() for one in result["examples"])


def test_the_report_measures_what_it_is_asked_for_and_shows_it(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.robustness.unlink(missing_ok=True)
    assert main(["report", str(run.folder)]) == 0
    before = run.report.read_text(encoding="utf-8")
    assert "--robustness" in before
    assert "--data-sheet" in before
    allmlp.evaluate(run.folder, quiet=True)
    assert main(["report", str(run.folder), "--robustness", "--data-sheet", "--images", "12"]) == 0
    html = run.report.read_text(encoding="utf-8")
    assert "on 12 images of" in html
    assert "Gaussian noise" in html
    assert "JPEG compression" in html
    assert html.count("validation or test image is a training image") == 1  # data.json says so, and the sheet not once more
    assert "another epoch" not in html
    write_json(run.robustness, {**read_json(run.robustness), "epoch": 99})
    assert main(["report", str(run.folder)]) == 0
    assert "another epoch" in run.report.read_text(encoding="utf-8")
    assert "Weight norm" in html
    assert "Processor time" in html
    sheet = read_json(run.datasheet)
    assert sheet["duplicates"]["contradictory"] == 1
    assert sheet["sizes"]["common"] == [{"width": 20, "height": 20, "images": 78}]


def test_weights_have_the_norm_that_the_steps_say(run: Run) -> None:
    model = allmlp.load(run.folder, which="last")
    norm = torch.cat([weight.detach().flatten() for weight in model.parameters()]).norm()
    assert read_lines(run.steps)[-1]["weight_norm"] == pytest.approx(float(norm), rel=1e-5)


def test_images_in_memory_have_a_sheet_too() -> None:
    images = ArrayImages(np.stack([np.asarray(picture(i % 2)) for i in range(3)]), [0, 1, 0], "noise")
    looked = [one for i in range(3) if (one := look("train", images, i)) is not None]
    found = duplicates(looked)
    assert (found.held_out, found.repeated, found.contradictory) == (0, 1, 0)
    assert found.examples == [["noise#0", "noise#2"]]
