"""Beam search: against all sentences there are, and both ways of taking a step."""

import itertools

import pytest
import torch
from torch import Tensor
from translators import KINDS, sentences, small

from allmlp.errors import ModelError
from allmlp.translation.model import BEGIN, END, PAD, create_translator
from allmlp.translation.search import Found, translate


def probability(model: torch.nn.Module, source: Tensor, pieces: list[int], *, ended: bool) -> float:
    """log p of a translation, by one whole pass."""
    scores = model(source, torch.tensor([[BEGIN, *pieces]]))[0].float()
    scores[:, [PAD, BEGIN]] = float("-inf")
    logs = scores.log_softmax(1)
    due = [*pieces, END] if ended else pieces
    return float(sum(logs[i, piece] for i, piece in enumerate(due)))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_a_wide_beam_finds_the_best_of_all_sentences(name: str, penalty: float) -> None:
    """Four pieces can be said, at most three of them: 1 + 2 + 4 + 8 that end, or not."""
    torch.manual_seed(0)
    model = create_translator(name, vocabulary=6, dim=8, hidden=8, depth=1, heads=2, longest=4, dropout=0.0).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    source = torch.tensor([[4, 5, END]])
    every = []
    with torch.no_grad():
        for length in range(4):
            for pieces in itertools.product((3, 4, 5), repeat=length):
                for ended in (True, False) if length == 3 else (True,):
                    if length == 3 and ended:
                        continue  # three pieces are all that fit: the end would be a fourth
                    every.append(Found(list(pieces), probability(model, source, list(pieces), ended=ended), ended))
    best = max(every, key=lambda one: one.score(penalty))
    [found] = translate(model, source, beams=40, penalty=penalty)
    assert found.pieces == best.pieces
    assert found.log_probability == pytest.approx(best.log_probability, abs=1e-4)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("beams", [1, 4])
def test_a_row_a_piece_finds_what_whole_passes_find(name: str, beams: int) -> None:
    model = small(name).float()
    source = sentences(3, 7, 5)
    one, other = (translate(model, source, beams=beams, incremental=way) for way in (True, False))
    assert [found.pieces for found in one] == [found.pieces for found in other]
    for a, b in zip(one, other, strict=True):
        assert a.log_probability == pytest.approx(b.log_probability, abs=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_a_translation_does_not_depend_on_its_batch(name: str) -> None:
    model = small(name)
    source = sentences(3, 7, 5)
    together = translate(model, source)
    for i, length in enumerate((3, 7, 5)):
        [alone] = translate(model, source[i : i + 1, :length])
        assert alone.pieces == together[i].pieces


def test_one_beam_says_the_most_probable_piece_each_time() -> None:
    model = small("resmlp_mt_xs")
    source = sentences(5)
    said = [BEGIN]
    with torch.no_grad():
        while len(said) < 12 and said[-1] != END:
            scores = model(source, torch.tensor([said]))[0, -1]
            scores[[PAD, BEGIN]] = float("-inf")
            said.append(int(scores.argmax()))
    [found] = translate(model, source, beams=1)
    assert [*found.pieces, *([END] if found.ended else [])] == said[1:]


def test_the_score_is_that_of_wu_et_al() -> None:
    found = Found([4, 5, 6], -2.0, True)
    assert found.score(0.0) == -2.0
    assert found.score(0.6) == pytest.approx(-2.0 / (9 / 6) ** 0.6)


def test_no_beams_and_training_mode_are_refused() -> None:
    model = small("resmlp_mt_xs")
    with pytest.raises(ModelError, match="0 beams"):
        translate(model, sentences(3), beams=0)
    with pytest.raises(ModelError, match="training mode"):
        translate(model.train(), sentences(3))
