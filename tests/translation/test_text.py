"""Sentences: read line by line, made pieces, and gathered into batches."""

import gzip
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from allmlp.errors import DataError
from allmlp.translation.batches import TokenOrder, padded, sentences, text_batches
from allmlp.translation.model import BEGIN, END, PAD
from allmlp.translation.pairs import Pairs, open_pairs

pytest.importorskip("sentencepiece", reason="extra translate")

from allmlp.translation.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary(text: Path) -> Vocabulary:
    pairs = open_pairs(text, "train", ("aa", "bb"))
    return Vocabulary.learnt((*pairs.source, *pairs.target), 100)


def test_text_comes_back_from_its_pieces(vocabulary: Vocabulary) -> None:
    for line in ("ana bere colo", "LIMA KELO", "  ana  "):
        pieces = vocabulary.encode(line)
        assert not {PAD, BEGIN, END} & set(pieces)
        assert vocabulary.decode([*pieces, END, *pieces]) == line.strip()
    assert len(vocabulary) == 100


def test_a_vocabulary_is_the_same_again_from_its_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    vocabulary.write(tmp_path / "vocabulary.model")
    again = Vocabulary.read(tmp_path / "vocabulary.model")
    assert again.encode("fora gilo HUMA") == vocabulary.encode("fora gilo HUMA")


def test_what_is_no_vocabulary_is_refused(tmp_path: Path, text: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        Vocabulary.read(tmp_path / "none.model")
    (tmp_path / "bad.model").write_bytes(b"\x0a\x02 not a model")
    with pytest.raises(DataError, match="damaged"):
        Vocabulary.read(tmp_path / "bad.model")
    with pytest.raises(DataError, match="do not make a vocabulary of 5000 pieces"):
        Vocabulary.learnt(["ana bere"], 5000)


def test_pairs_are_read_as_text_or_compressed_without_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "val.en").write_text("One.\n\nThree. \n", encoding="utf-8")
    with gzip.open(tmp_path / "val.de.gz", "wt", encoding="utf-8") as stream:
        stream.write("Eins.\nZwei.\nDrei.\n")
    assert open_pairs(tmp_path, "val", ("en", "de")) == Pairs("val", ("One.", "Three."), ("Eins.", "Drei."))


def test_files_that_do_not_fit_are_refused_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "val.en").write_text("One.\nTwo.\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has no val\.de"):
        open_pairs(tmp_path, "val", ("en", "de"))
    (tmp_path / "val.de").write_text("Eins.\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"2 lines and .* 1"):
        open_pairs(tmp_path, "val", ("en", "de"))
    (tmp_path / "val.de").write_bytes("Eins.\nZwölf.\n".encode("latin-1"))
    with pytest.raises(DataError, match="is no UTF-8"):
        open_pairs(tmp_path, "val", ("en", "de"))
    (tmp_path / "val.de").write_text("Eins.\n" + "x" * 20_000 + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 has more than 10,000 characters"):
        open_pairs(tmp_path, "val", ("en", "de"))
    with pytest.raises(DataError, match="is not a folder"):
        open_pairs(tmp_path / "none", "val", ("en", "de"))
    (tmp_path / "val.de").unlink()
    (tmp_path / "val.de.gz").write_bytes(gzip.compress(b"Eins.\nZwei.\n")[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        open_pairs(tmp_path, "val", ("en", "de"))


def test_a_batch_is_padded_and_shifted_by_one() -> None:
    batch = padded([([5, 6, END], [7, 8]), ([5, END], [9])])
    assert batch.source.tolist() == [[5, 6, END], [5, END, PAD]]
    assert batch.given.tolist() == [[BEGIN, 7, 8], [BEGIN, 9, PAD]]
    assert batch.due.tolist() == [[7, 8, END], [9, END, PAD]]
    assert batch.labels.tolist() == [7, 8, END, 9, END]


def test_sentences_that_are_too_long_are_left_out_and_counted(vocabulary: Vocabulary) -> None:
    pairs = Pairs("train", ("ana", "ana " * 60), ("ANA", "ANA " * 60))
    assert sentences(pairs, vocabulary, 20).left_out == 1
    with pytest.raises(DataError, match="no sentence of train has at most 1 pieces"):
        sentences(pairs, vocabulary, 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=80), st.integers(30, 200), st.integers(0, 5), st.integers(1, 3))
def test_every_sentence_is_in_one_batch_of_an_epoch_and_no_batch_is_too_large(
    lengths: list[int], tokens: int, seed: int, world: int
) -> None:
    tokens *= world
    shares = [TokenOrder(lengths, tokens, seed=seed, rank=rank, world=world) for rank in range(world)]
    for epoch in range(2):
        for share in shares:
            share.epoch = epoch
        whole = [[i for part in parts for i in part] for parts in zip(*shares, strict=True)]
        assert len(whole) == shares[0].steps
        assert sorted(i for batch in whole for i in batch) == list(range(len(lengths)))
        assert all(len(batch) * max(lengths[i] for i in batch) <= tokens for batch in whole)


def test_an_epoch_goes_on_where_it_was_left_and_each_is_another() -> None:
    lengths = [3, 9, 4, 4, 7, 5, 5, 5, 8, 2] * 5
    order = TokenOrder(lengths, 20, seed=0)
    first = list(order)
    order.start = 4
    assert list(order) == first[4:]
    order.start, order.epoch = 0, 1
    assert list(order) != first
    assert {len(list(TokenOrder(lengths, 20, seed=seed))) for seed in range(5)} == {order.steps}


def test_a_batch_with_no_room_for_the_longest_sentence_is_refused() -> None:
    with pytest.raises(DataError, match="no room for 2 sentences of 30"):
        TokenOrder([3, 30], 59, seed=0, world=2)


def test_batches_come_as_tensors(vocabulary: Vocabulary, text: Path) -> None:
    found = sentences(open_pairs(text, "val", ("aa", "bb")), vocabulary, 64)
    batches = list(text_batches(found, 200, seed=0))
    assert sum(len(batch.source) for batch in batches) == 40
    assert sum(len(batch.labels) for batch in batches) == sum(len(target) + 1 for _, target in found.encoded)
    assert all(batch.source.dtype == torch.int64 for batch in batches)
