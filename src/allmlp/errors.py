"""One exception tree. Every message says what is wrong, and `mend` says how to put it right."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class AllmlpError(Exception):
    """Base of every error a user can cause; the command line prints it without a traceback."""

    def __init__(self, what: str, *, mend: str = "") -> None:
        super().__init__(f"{what}\n  mend: {mend}" if mend else what)
        self.what = what
        self.mend = mend


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
