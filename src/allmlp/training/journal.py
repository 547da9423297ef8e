"""What a program reads while training goes on: steps.jsonl, and the same numbers for trackers."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from allmlp.run import Run
from allmlp.training.trackers import Tracker, trackers


class Journal:
    """One line every `every` steps, one set of numbers an epoch. Without a run, as in all processes but the first, silent."""

    def __init__(
        self,
        run: Run | None,
        *,
        every: int,
        services: Sequence[str],
        step: int,
        config: Mapping[str, Any],
        say: Callable[[str], None],
        counts: str = "images",
    ) -> None:
        self.run, self.every, self.say, self.counts = run, every, say, counts
        self.trackers = {} if run is None else trackers(run, services, step=step, config=config)
        self._since, self._images = time.monotonic(), 0

    def due(self, step: int) -> bool:
        """Whether step number `step`, from 1, is one to log."""
        return step % self.every == 0

    def count(self, images: int) -> None:
        """So many more images were trained on."""
        self._images += images

    def step(self, step: int, values: Mapping[str, float | None]) -> None:
        """Log a step; the rate in images/s is since the last one. What is None is left out."""
        now = time.monotonic()
        rate = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        if self.run is not None:
            known = {name: value for name, value in {**values, f"{self.counts}_per_s": rate}.items() if value is not None}
            self.run.append(self.run.steps, {"step": step, **known})
            self._tell("train", known, step)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Tell trackers what metrics.jsonl says of an epoch."""
        self._tell("epoch", {name: value for name, value in record.items() if value is not None}, record["step"])

    def close(self) -> None:
        for name in list(self.trackers):
            self._try(name, lambda tracker: tracker.close())

    def _tell(self, what: str, values: Mapping[str, Any], step: int) -> None:
        named = {f"{what}/{name}": value for name, value in values.items() if name != "step"}
        for name in list(self.trackers):
            self._try(name, lambda tracker: tracker.log(named, step))

    def _try(self, name: str, action: Callable[[Tracker], None]) -> None:
        """A tracker that fails, whatever it raises, is left out from then on; training is worth more."""
        try:
            action(self.trackers[name])
        except Exception as error:
            del self.trackers[name]
            self.say(f"{name} is left out from now on: {(str(error).splitlines() or [type(error).__name__])[0][:200]}")
