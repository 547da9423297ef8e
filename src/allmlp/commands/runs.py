"""Beginning a run or going on with one, and what is said at the end of one without labels, by whichever command."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from allmlp.commands.words import print_json, say
from allmlp.errors import RecipeError
from allmlp.recipe import Recipe
from allmlp.run import Run

AUTO = "auto"


class RunWords(Protocol):
    """The words about the run itself."""

    @property
    def data_folder(self) -> str | None: ...
    @property
    def out(self) -> Path | None: ...
    @property
    def resume(self) -> str | None: ...
    @property
    def log(self) -> str: ...
    @property
    def quiet(self) -> bool: ...


def run_of(
    begin: Callable[..., Run],
    recipe: Recipe,
    given: RunWords,
    said: list[str],
    *,
    command: str,
    again: Callable[..., Run] | None = None,
) -> Run:
    """begin: `train`, or a function like it. said: the words. again: what goes on with a run, `allmlp.resume` unless given.

    Raises RecipeError for words that --resume cannot heed.
    """
    if given.resume is not None and given.resume != AUTO:
        from allmlp.training.main import resume

        others = [w for w in said if w.startswith("--") and not w.startswith(("--resume", "--quiet", "--json"))]
        if others or given.data_folder:
            raise RecipeError(
                f"--resume goes on with the run as it was; {others[0] if others else 'DATA'} would change it",
                hint=f"allmlp {command} --resume {given.resume} alone",
            )
        return (again or resume)(given.resume, quiet=given.quiet)
    auto = "auto" if given.resume == AUTO else "never"
    services = tuple(name.strip() for name in given.log.split(",") if name.strip())
    return begin(given.data_folder, recipe=recipe, out=given.out, resume=auto, log=services, quiet=given.quiet)


def pretrained(run: Run, *, json: bool, quiet: bool) -> int:
    """Write the report and name what comes next."""
    from allmlp.reporting.page import write_report
    from allmlp.training.display import next_commands

    write_report(run)
    if json:
        print_json({"run": str(run.folder), "knn_top1": run.told()["best"]["top1"]})
    if not quiet:
        say("\nnext:\n" + "\n".join(f"  {line}" for line in next_commands(run, classes=False)))
    return 0
