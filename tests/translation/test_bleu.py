"""BLEU against its definition."""

import math

import pytest

from allmlp.errors import DataError

pytest.importorskip("sacrebleu", reason="extra translate")

from allmlp.translation.scores import scores


def test_bleu_is_the_geometric_mean_of_the_shares_of_n_grams_times_the_brevity_penalty() -> None:
    """Of "the cat sat on mat" 5 of 5 words, 3 of 4 pairs, 2 of 3 triples and 1 of 2 quadruples are right; 5 words of 6."""
    found = scores(["the cat sat on mat"], ["the cat sat on the mat"])
    precision = (5 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert found.bleu == pytest.approx(100 * precision * math.exp(1 - 6 / 5), abs=1e-6)
    assert found.brevity_penalty == pytest.approx(math.exp(1 - 6 / 5))
    assert "tok:13a" in found.bleu_signature
    assert found.chrf_signature.startswith("nrefs:1|case:mixed")
    assert 0 < found.chrf < 100


def test_a_translation_without_a_reference_is_refused() -> None:
    with pytest.raises(DataError, match="2 translations and 1 references"):
        scores(["a", "b"], ["a"])
