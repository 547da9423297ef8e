"""The data sheet of a run: what its images are, as they lie there now."""

from datetime import UTC, datetime
from typing import Any

from allmlp.data.sheet import data_sheet
from allmlp.data.sources import open_source
from allmlp.recipe import load_recipe
from allmlp.run import Run, write_json


def describe_data(run: Run, *, quiet: bool = False) -> dict[str, Any]:
    """Look at all images of a run, and write what was found to run.datasheet; see `data_sheet`.

    Raises DataError when the images are gone, RunError where nothing can be written.
    """
    run.check_writable()
    recipe = load_recipe(run.recipe)
    source = open_source(
        run.data_spec(),
        **recipe.data.opening,
        seed=recipe.seed,
        limit=recipe.train.limit,
        shots=recipe.train.shots,
        quiet=quiet,
    )
    record = {**data_sheet(source, quiet=quiet), "looked": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(run.datasheet, record)
    return record
