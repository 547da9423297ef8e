"""When the loss leaves all bounds: back to the last checkpoint, and on at half the rate, as often as the recipe allows."""

from typing import Any

from allmlp.training.again import cut_back
from allmlp.training.divergence import Diverged
from allmlp.training.loop import Loop


def fitted(loop: Loop, retries: list[dict[str, Any]]) -> bool:
    """Run the loop to its end; False when a signal stopped it. retries: gets a record of each, for run.json.

    Raises Diverged when no attempt is left.
    """
    while True:
        try:
            return loop.fit()
        except Diverged as error:
            if loop.position.retries >= loop.recipe.train.retry:
                raise
            loop.go_back(error)
            if loop.team.first:
                cut_back(loop.run, loop.position, loop.plan.steps)
            at, rate = loop.position, 0.5**loop.position.retries
            retries.append({"loss": error.loss, "epoch": error.epoch + 1, "step": error.step + 1, "rate": rate})
            loop.display.say(
                f"{error.what}: back to epoch {at.epoch + 1}, step {at.step + 1}, at {rate:g} of the learning rate", "yellow"
            )
