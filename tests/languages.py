"""A language that is learnt in seconds: words in another order and with other letters."""

import random
from pathlib import Path

WORDS = ["ana", "bere", "colo", "duna", "esti", "fora", "gilo", "huma", "iko", "jaru", "kelo", "lima"]


def sentence(draw: random.Random) -> tuple[str, str]:
    """The translation is backwards, in capitals."""
    words = [draw.choice(WORDS) for _ in range(draw.randint(2, 6))]
    return " ".join(words), " ".join(reversed(words)).upper()


def write_text(folder: Path, languages: tuple[str, str] = ("aa", "bb"), *, train: int = 400) -> Path:
    """A folder with train, of so many sentences, val and test of both languages."""
    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", 40), ("test", 40)):
        pairs = [sentence(draw) for _ in range(count)]
        for place, language in enumerate(languages):
            lines = "".join(pair[place] + "\n" for pair in pairs)
            (folder / f"{split}.{language}").write_text(lines, encoding="utf-8")
    return folder
