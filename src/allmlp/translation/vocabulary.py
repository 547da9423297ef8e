"""Text ↔ pieces: one byte-pair vocabulary for both languages, by sentencepiece."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from allmlp.data.extras import needed
from allmlp.errors import DataError
from allmlp.files import whole_file
from allmlp.translation.model import BEGIN, END, PAD, UNKNOWN

MOST_BYTES = 2**26
"""Of a vocabulary's file."""


class Vocabulary:
    """A trained sentencepiece model. Raises DataError for bytes that are none."""

    def __init__(self, model: bytes) -> None:
        self.model = model
        try:
            self._pieces: Any = _library().SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError) as error:
            raise DataError("the vocabulary is damaged", hint="take the file from the run again") from error
        own = (self._pieces.pad_id(), self._pieces.bos_id(), self._pieces.eos_id(), self._pieces.unk_id())
        if own != (PAD, BEGIN, END, UNKNOWN):
            raise DataError(
                "the vocabulary was not made by allmlp: its special pieces have other numbers", hint="make a new one"
            )

    @classmethod
    def learnt(cls, lines: Iterable[str], pieces: int) -> "Vocabulary":
        """Byte-pair encoding (Sennrich et al., 2016) of the lines. Raises DataError where they have fewer pieces."""
        made = io.BytesIO()
        try:
            _library().SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=made,
                vocab_size=pieces,
                model_type="bpe",
                character_coverage=1.0,
                pad_id=PAD,
                bos_id=BEGIN,
                eos_id=END,
                unk_id=UNKNOWN,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise DataError(
                f"these lines do not make a vocabulary of {pieces} pieces",
                hint="use a smaller translation.vocabulary, or more text",
            ) from error
        return cls(made.getvalue())

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """Raises DataError for a file that is missing or none of ours."""
        try:
            if path.stat().st_size > MOST_BYTES:
                raise DataError(f"{path} is too large for a vocabulary", hint="take the file from the run again")
            return cls(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}", hint="give a translation run, with its vocabulary.model") from None

    def write(self, path: Path) -> None:
        with whole_file(path) as temporary:
            temporary.write_bytes(self.model)

    def __len__(self) -> int:
        return int(self._pieces.vocab_size())

    def encode(self, line: str) -> list[int]:
        """Pieces without begin and end."""
        return list(self._pieces.encode(line.strip()))

    def decode(self, pieces: Sequence[int]) -> str:
        """Text of the pieces up to the first end."""
        kept = list(pieces)
        kept = kept[: kept.index(END)] if END in kept else kept
        return str(self._pieces.decode([piece for piece in kept if piece not in (PAD, BEGIN)]))


def _library() -> Any:
    return needed("sentencepiece", "translate", "translation")
