"""Pages from templates: what a page says is escaped, and a value that is missing is an error."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from allmlp.reporting import words

FILTERS = ("percent", "between", "moment", "wilson_interval", "points", "signed", "likelihood", "compact", "duration")
"""Functions of `words` that a template may use."""


def render(template: str, *, room: str = "allmlp.reporting", **values: Any) -> str:
    """The page of a template of a room, which may include what lies in this one."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in (room, "allmlp.reporting")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in FILTERS}
    return environment.get_template(template).render(**values)
