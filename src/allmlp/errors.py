"""One exception tree. Every message says what is wrong, and `hint` says how to put it right."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from unicodedata import category

REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Unicode's controls of writing direction: with them a name could rewrite the numbers beside it."""
MOST_LETTERS = 1500
"""Of what is said of one error: a name out of a hostile file can be of any length."""


class AllmlpError(Exception):
    """Base of every error a user can cause; the command line prints it without a traceback."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.what, self.hint = _told(what), _told(hint)
        super().__init__(f"{self.what}\n  hint: {self.hint}" if hint else self.what)


class ModelError(AllmlpError, ValueError):
    """An unknown architecture, an unknown hyper-parameter, or a value that cannot be built."""


class ShapeError(AllmlpError, ValueError):
    """A tensor or an image whose shape does not fit the model."""


class WeightsError(AllmlpError, ValueError):
    """A checkpoint that cannot be read, is not recognised, or does not fit the model."""


class RecipeError(AllmlpError, ValueError):
    """A recipe with an unknown field or an impossible value."""


class DataError(AllmlpError, ValueError):
    """Images or labels that cannot be trained on, evaluated or predicted."""


class RunError(AllmlpError, ValueError):
    """A run folder that is missing, damaged or already in use."""


class EngineError(AllmlpError, RuntimeError):
    """A way of running a model that is not to be had here."""


class TrainingError(AllmlpError, RuntimeError):
    """Training that cannot go on, such as a loss that is no longer finite."""


def one_of(known: Iterable[str], given: str, *, most: int = 24) -> str:
    """A hint towards the right name: the nearest ones when there are any, else what there is."""
    names = sorted(known)
    folded = {name.casefold(): name for name in names}
    meant = str(given).casefold()
    near = get_close_matches(meant, folded, n=3, cutoff=0.6)
    alike = [folded[n] for n in near if _likeness(n, meant) > _likeness(near[0], meant) - 0.05]
    if alike:
        return f"did you mean {' or '.join(sorted(alike))}?"
    shown = ", ".join(names[:most])
    return f"choose one of {shown}" + (f" and {len(names) - most} more" if len(names) > most else "")


def _likeness(a: str, b: str) -> float:
    return SequenceMatcher(None, a, b).ratio()


def visible(text: str) -> str:
    """The same with a replacement character for each letter that no page can show, or that would reorder others."""
    hidden = {letter for letter in text if category(letter) in ("Cc", "Cs") or letter in REORDERING}
    return text.translate(dict.fromkeys(map(ord, hidden), "\N{REPLACEMENT CHARACTER}"))


def _told(text: str) -> str:
    """For people: whatever came out of a file commands no terminal and fills no screen."""
    cut = text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + " …"
    return "\n".join(visible(line) for line in cut.split("\n"))
