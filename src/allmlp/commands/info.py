"""allmlp info"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from allmlp.commands.words import parse, print_json, print_table


@dataclass(frozen=True, kw_only=True)
class Words:
    """Show versions, the machine, what allmlp decides on it and why, and where files are kept.

    This is what a bug report needs. Nothing is measured, and no key or password is shown.
    """

    json: bool = False
    """Print one JSON object on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="info")
    from allmlp.engine.information import information

    found = information()
    if given.json:
        print_json(found)
    else:
        print_table(("what", "value"), _rows(found))
    return 0


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from allmlp.engine.abilities import Abilities

    machine = found["machine"]
    yield from found["versions"].items()
    for name in ("platform", "processor", "cores", "threads", "torch_vectors", "filesystem_encoding"):
        yield name.replace("_", " "), str(machine[name])
    yield "abilities", str(Abilities(**machine["abilities"]))
    if machine["free_memory_bytes"] is not None:
        yield "free memory", f"{machine['free_memory_bytes'] / 2**30:.1f} GiB"
    yield "GPUs", ", ".join(machine["gpus"]) or "none"
    yield from found["decisions"].items()
    for each in found["measured"]:
        what = ", ".join(f"{name} {value}" for name, value in list(each["question"].items())[:2])
        yield f"measured {str(each['measured'])[:10]}", f"{what}: {each['decision']['chosen']}"
    for name, folder in found["folders"].items():
        size = f"{folder.get('files', 0)} files, {folder.get('bytes', 0) / 1e6:.1f} MB"
        yield f"{name} folder", folder["why"] if folder["path"] is None else f"{folder['path']}: {size}"
    yield from found["settings"].items()
