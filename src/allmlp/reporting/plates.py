"""Figures that are both in a page and files beside it."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from allmlp.reporting.drawing import Drawing
from allmlp.reporting.ink import inline_svg, write_figure


class Plates:
    """Draws into a folder. `files` lists what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[str] = []

    def inline(self, drawing: Drawing[Any], *args: Any, name: str, description: str, **kwargs: Any) -> Markup:
        """The figure for the page; name: of all that it contains."""
        return inline_svg(drawing(*args, **kwargs), name, description)

    def file(self, drawing: Drawing[Any], *args: Any, name: str, **kwargs: Any) -> None:
        """The figure as NAME.png, whole or not at all."""
        write_figure(drawing.alone(*args, **kwargs), self.folder / f"{name}.png")
        self.files.append(f"{name}.png")

    def both(self, drawing: Drawing[Any], *args: Any, name: str, description: str, title: str, **kwargs: Any) -> Markup:
        """The same figure in both places; as a file it bears a title."""
        self.file(drawing, *args, name=name, title=title, **kwargs)
        return self.inline(drawing, *args, name=name, description=description, **kwargs)
