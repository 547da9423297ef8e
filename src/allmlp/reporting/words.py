"""How the report says numbers, and how sure they are."""

from datetime import datetime
from unicodedata import east_asian_width

from allmlp.intervals import wilson_interval as wilson_interval


def percent(share: float | None) -> str:
    """0.891 → "89.1%"; a dash for None."""
    return "–" if share is None else f"{share:.1%}"


def between(interval: tuple[float, float]) -> str:
    """(0.87, 0.909) → "87.0–90.9%"."""
    low, high = interval
    return f"{100 * low:.1f}–{high:.1%}"


def points(difference: float) -> str:
    """A difference of shares: 0.0123 → "+1.2", -0.05 → "−5.0", in points of a hundred."""
    return signed(100 * difference, 1)


def signed(number: float, digits: int) -> str:
    """-0.5 → "−0.50", 0.5 → "+0.50"; zero, and what rounds to it, without a sign."""
    text = f"{number:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def likelihood(p: float) -> str:
    """0.0215 → "0.021", 1e-9 → "< 0.0001"; three digits are enough for a p-value."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 1e-2 else f"{p:.3f}"


def compact(number: float) -> str:
    """1228648 → "1.23 M", up to 10¹⁵ (P)."""
    for size, unit in ((1e15, " P"), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:g}"


def duration(seconds: float) -> str:
    """101.2 → "1 min 41 s", 1509 → "25 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def moment(when: datetime) -> str:
    """A time in UTC → "21 November 2026, 02:00 UTC"."""
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def columns(text: str) -> int:
    """Width of a text in columns of a fixed-width font; Chinese, Japanese and Korean letters take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def shortened(text: str, most: int) -> str:
    """At most `most` columns; an ellipsis stands for what is cut off."""
    if columns(text) <= most:
        return text
    while columns(text) > most - 1:
        text = text[:-1]
    return text.rstrip() + "…"
