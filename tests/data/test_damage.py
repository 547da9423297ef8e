"""Unreadable images are counted by reason, and refused above a share."""

import pytest

from allmlp.data.damage import by_reason, in_words, refuse_too_many
from allmlp.data.fashion import embedded
from allmlp.data.hold import held
from allmlp.data.sources import open_source
from allmlp.errors import DataError, TrainingError
from helpers import PictureFolder

FAILURES = [
    ("a.jpg", "the file is empty"),
    ("b.jpg", "OSError: image file is truncated (12 bytes not processed)"),
    ("c.jpg", "OSError: image file is truncated (3,456 bytes not processed)"),
]


def test_reasons_that_differ_in_a_number_alone_are_one() -> None:
    truncated = "OSError: image file is truncated (N bytes not processed)"
    assert by_reason(FAILURES) == {truncated: 2, "the file is empty": 1}
    assert in_words(FAILURES) == f"2 × {truncated}, such as b.jpg; 1 × the file is empty, such as a.jpg"


def test_many_reasons_are_cut_short() -> None:
    told = in_words([(f"{letter}.png", f"{letter}Error") for letter in "abcdefg"])
    assert told.endswith("; and 2 reasons more")
    assert told.count("×") == 5


def test_a_share_above_the_most_is_refused_with_reasons_and_a_way_out() -> None:
    refuse_too_many(FAILURES, 0.02, 0.02)
    refuse_too_many([], 0.0, 0.0)
    refuse_too_many(FAILURES[:1], 0.04, 0.01)  # a single one
    with pytest.raises(DataError, match=r"3 images \(2\.3%\) cannot be read, more than 2\.0%: 2 × OSError") as error:
        refuse_too_many(FAILURES, 0.023, 0.02)
    assert error.value.hint == "replace or remove those files, or put up with them: --data.max-bad-share 0.03"
    with pytest.raises(TrainingError) as error:
        refuse_too_many(FAILURES[:1], 0.999, 0.0, kind=TrainingError, where="the files in list.jsonl")
    assert "1 image (99.9%)" in error.value.what
    assert "the files in list.jsonl" in error.value.hint
    assert error.value.hint.endswith("--data.max-bad-share 1")


@pytest.mark.parametrize("limit", [None, 8])
def test_the_share_is_that_of_all_images_in_headers_and_in_pixels(limit: int | None, picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": 10, "train/dog": 10, "val/cat": 4, "val/dog": 4})
    (root / "train" / "cat" / "0.png").write_bytes(b"noise")
    source = open_source(str(root), val_share=0.1, seed=0, limit=limit)
    assert source.bad_share == pytest.approx(1 / 28)
    cut = root / "val" / "cat" / "1.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    found = 27 if limit is None else limit + 8
    assert held(source).bad_share == pytest.approx(1 / 28 + 27 / 28 * 1 / found)
    assert held(source).bad_share == pytest.approx(source.bad_share_with(1))


def test_a_set_without_damage_has_no_bad_share(picture_folder: PictureFolder) -> None:
    assert embedded().bad_share == 0
    assert open_source(str(picture_folder({"cat": 2, "dog": 2})), val_share=0.5, seed=0).bad_share_with(0) == 0
