"""A bundle's read_image.py: the very source by which allmlp reads image files, as one file without allmlp."""

import ast
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

FILE = "read_image.py"
ROOT, PACKAGE = "allmlp.pixels.read", "allmlp."
ERRORS = "allmlp.errors"
HEAD = '''\
"""Image files as allmlp {version} reads them for this model: upright, transparency on white, deep values as 8 bits.

    from read_image import Reading, read_image

    read_image("photo.jpg", 3)                            # a PIL image of mode RGB; 1 gives L
    read_image("scan.tif", Reading(1, (185.0, 2218.0)))   # these values become black and white

Made of allmlp's source ({modules}), under its licence. Needs Python 3.11, numpy and Pillow.
"""

{imports}


class DataError(ValueError):
    """Images that cannot be used; `hint` says what may help."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        self.what, self.hint = what, hint
        super().__init__(f"{{what}}\\n  hint: {{hint}}" if hint else what)


{body}
'''


def read_image_source() -> str:
    """The file's content: the modules that `ROOT` is made of, one after the other, without what they import of each other."""
    modules = _needed(ROOT, {})
    imports: dict[str, set[str]] = {}
    bodies = []
    for source in modules.values():
        tree = ast.parse(source)
        lines = source.splitlines()
        kept = []
        for place, node in enumerate(tree.body):
            if place == 0 and isinstance(node, ast.Expr):
                continue  # the module's docstring
            if isinstance(node, ast.ImportFrom | ast.Import):
                before = f"from {node.module} import " if isinstance(node, ast.ImportFrom) else "import "
                if not before.startswith(f"from {PACKAGE}"):
                    imports.setdefault(before, set()).update(map(ast.unparse, node.names))
                continue
            kept.append("\n".join(lines[_first_line(node) - 1 : node.end_lineno]))
        bodies.append(_spaced(kept))
    names = ", ".join(name.rpartition(".")[2] for name in modules)
    return HEAD.format(version=version("allmlp"), modules=names, imports=_imports(imports), body="\n\n\n".join(bodies))


def _imports(found: dict[str, set[str]]) -> str:
    plain = [f"import {name}" for name in sorted(found.pop("import ", set()))]
    return "\n".join([*plain, *(before + ", ".join(sorted(names)) for before, names in sorted(found.items()))])


def _needed(name: str, found: dict[str, str]) -> dict[str, str]:
    """Module → its source; before each one those that it imports. `ERRORS` is replaced by what HEAD says."""
    if name in found or name == ERRORS:
        return found
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            _needed(node.module or "", found)
    found[name] = source
    return found


def _first_line(node: ast.stmt) -> int:
    above = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in above)])


def _spaced(kept: list[str]) -> str:
    """Statements with two empty lines around functions and classes."""
    text = ""
    for statement in kept:
        large = statement.startswith(("def ", "class ", "@"))
        docstring = statement.startswith('"""')
        if text:
            text += "\n" if docstring else "\n\n\n" if large or _ends_large(text) else "\n"
        text += statement
    return text


def _ends_large(text: str) -> bool:
    """Whether the last statement was a function or a class: its last line is indented."""
    return text.rsplit("\n", 1)[-1].startswith(" ")
