"""How good translations are: BLEU and chrF by sacreBLEU, with the signatures that make them comparable."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from allmlp.data.extras import needed
from allmlp.errors import DataError


@dataclass(frozen=True)
class Scores:
    """In percent."""

    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str
    brevity_penalty: float
    """1 where the translations are as long as the references."""
    sentences: int

    def record(self) -> dict[str, Any]:
        return asdict(self)


def scores(translations: Sequence[str], references: Sequence[str]) -> Scores:
    """Detokenised, cased, one reference a sentence. Raises DataError unless there are as many of both."""
    if len(translations) != len(references) or not references:
        raise DataError(
            f"{len(translations)} translations and {len(references)} references", hint="give one reference for each"
        )
    library = needed("sacrebleu", "translate", "BLEU")
    bleu, chrf = library.BLEU(), library.CHRF()
    found = bleu.corpus_score(list(translations), [list(references)])
    other = chrf.corpus_score(list(translations), [list(references)])
    return Scores(found.score, str(bleu.get_signature()), other.score, str(chrf.get_signature()), found.bp, len(references))
