"""The header Accept: which kinds of content a client takes."""

from collections.abc import Callable, Sequence

from fastapi import Request

from allmlp.serving.refused import Refused

JSON, HTML, TEXT = "application/json", "text/html", "text/plain"


def answers_in(kind: str) -> Callable[[Request], None]:
    """A dependency of a route: raises Refused (406) for a client that does not take this kind of content."""

    def check(request: Request) -> None:
        if not takes(request.headers.getlist("accept"), kind):
            what = f"{request.url.path} answers in {kind}, which the header Accept does not take"
            raise Refused(406, what, hint=f'send "Accept: {kind}", or no such header')

    return check


def takes(lines: Sequence[str], kind: str) -> bool:
    """Whether the lines of Accept take a kind of content (RFC 9110, section 12.5.1).

    The range that names the kind most closely decides, by its weight q. Parameters other than q are passed over, and so are
    ranges that cannot be read. Without any range everything is taken.
    """
    ranges = [found for line in lines for part in line.split(",") if (found := _range(part)) is not None]
    whole, half = kind, kind.partition("/")[0] + "/*"
    fitting = [(name != "*/*") + (name == whole) for name, _ in ranges if name in (whole, half, "*/*")]
    closest = max(fitting, default=None)
    weights = [q for name, q in ranges if name in (whole, half, "*/*") and (name != "*/*") + (name == whole) == closest]
    return not ranges or max(weights, default=0.0) > 0


def _range(text: str) -> tuple[str, float] | None:
    """ "text/*;q=0.5" → ("text/*", 0.5)."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    name = "*/*" if name == "*" else name  # as old clients of Java send it
    first, slash, second = name.partition("/")
    if not (first and slash and second) or (first == "*" and second != "*"):
        return None
    weights = [value.strip() for key, _, value in (part.partition("=") for part in parameters) if key.strip() == "q"]
    try:
        q = float(weights[0]) if weights else 1.0
    except ValueError:
        return None
    return (name, q) if 0 <= q <= 1 else None
