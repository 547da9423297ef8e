"""The only training loop."""

# axes: b batch, k classes

import math
import time
from typing import Any

import torch
from torch import nn

from allmlp.data.keys import seed_everything
from allmlp.data.loader import Batch, Order
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.engine.device import autocast, placed
from allmlp.errors import TrainingError
from allmlp.run import Run, read_lines
from allmlp.training import checkpoint
from allmlp.training.checkpoint import Position
from allmlp.training.display import Display
from allmlp.training.distributed import gathered_weights, unsharded
from allmlp.training.interrupt import Interrupt
from allmlp.training.journal import Journal
from allmlp.training.objectives import cross_entropy
from allmlp.training.setup import Plan
from allmlp.training.validation import Stopped, Verdict, validate

LOOK_EVERY = 50
"""Steps between looks at the loss on an accelerator, where each look waits for the device."""


class Loop:
    """One run from a position to its end, or to a signal."""

    def __init__(self, plan: Plan, run: Run, position: Position, display: Display, journal: Journal) -> None:
        self.plan, self.run, self.position, self.display, self.journal = plan, run, position, display, journal
        self.recipe, self.team = plan.recipe, plan.team
        self.parts: dict[str, Any] = {"model": plan.model, "optimiser": plan.optimiser}
        if plan.ema is not None:
            self.parts["ema"] = plan.ema.module
        self.interrupt = Interrupt()
        self.stopping = False
        """Whether a signal has reached any process of the team."""
        self.saved, self.save_due = time.monotonic(), False
        self.norm: torch.Tensor | None = None
        """Of the last gradient, before it was clipped."""
        self.unlisted: list[tuple[str, str]] = []
        self.listed = {record["path"] for record in read_lines(run.unreadable)}
        self.cost = {"parameters": parameters(plan.model), "macs": multiply_adds(plan.model)}

    def fit(self) -> bool:
        """Train to the end; False when a signal stopped it. Raises TrainingError when the loss is not finite."""
        epochs = self.recipe.train.epochs
        position = self.position
        with self.interrupt:
            self.display.begin(done=self.done, total=epochs * self.plan.steps)
            try:
                while position.epoch < epochs:
                    self._train_epoch()
                    self._close_epoch()
            except Stopped:
                self._save()
                return False
            finally:
                self.display.end()
        return True

    @property
    def done(self) -> int:
        """Steps done since the beginning of the run."""
        return self.position.epoch * self.plan.steps + self.position.step

    def _train_epoch(self) -> None:
        """The steps of the current epoch that are not done yet."""
        position, plan = self.position, self.plan
        order = plan.train_batches.batch_sampler
        assert isinstance(order, Order)
        order.epoch, order.start = position.epoch, position.step
        plan.model.train()
        began = last = time.monotonic()
        seen_before = position.seen
        mixing = position.epoch < self.recipe.train.epochs - self.recipe.augment.mix_off
        for batch in plan.train_batches if position.step < plan.steps else ():
            loss = self._step(batch, mixing=mixing)
            position.step += 1
            last, before = time.monotonic(), last
            position.seconds += last - before
            self.display.step(
                epoch=position.epoch + 1,
                epochs=self.recipe.train.epochs,
                done=self.done,
                loss=position.loss_sum / max(position.weighed, 1),
                accuracy=position.hits / position.judged if position.judged else None,
                rate=(position.seen - seen_before) / (last - began),
            )
            if self.journal.due(self.done):
                norm = None if self.norm is None else float(unsharded(self.norm))
                lr = plan.optimiser.param_groups[0]["lr"]
                self.journal.step(self.done, {"epoch": position.epoch + 1, "loss": loss, "lr": lr, "grad_norm": norm})
            if self.stopping or (self.team.size == 1 and self.interrupt.caught):
                raise Stopped
            if self.save_due:
                self._save()
        self.rate = (position.seen - seen_before) / max(time.monotonic() - began, 1e-9)

    def _step(self, batch: Batch, *, mixing: bool) -> float | None:
        """One update. Returns the mean loss over all processes, where anyone looked."""
        plan, team = self.plan, self.team
        self._note_unreadable(batch)
        count = len(batch.labels)
        if not count and team.size == 1:
            return self._count(batch, None, None)[1]
        seed_everything(self.recipe.seed, "step", self.done * team.size + team.rank)
        if plan.device.type == "cuda":
            torch.cuda.manual_seed(torch.initial_seed())
        images, labels = batch.images, batch.labels
        if not count:  # the others wait for this process's gradient, which will weigh nothing
            images, labels = torch.zeros(1, plan.model.in_chans, *plan.model.img_size), torch.zeros(1, dtype=torch.long)
        images, labels = placed(images, plan.model, plan.device), labels.to(plan.device, non_blocking=True)
        mixed, target = plan.mix(images, labels, mixing=mixing)
        with autocast(plan.device, plan.precision):
            logits = plan.forward(mixed)
        loss = cross_entropy(logits, target)
        look = plan.device.type == "cpu" or self.position.step % LOOK_EVERY == 0 or self.journal.due(self.done + 1)
        hits = int((logits.detach().argmax(1) == labels).sum()) if look and mixed is images else None
        weight, value = self._count(batch, float(loss.detach()) if look else None, hits)
        if value is not None and not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.done + 1} (epoch {self.position.epoch + 1})",
                mend=f"use a lower --optim.lr or a longer --optim.warmup; the best epoch's weights are in {self.run.folder}",
            )
        plan.schedule.step_update(self.done)
        plan.optimiser.zero_grad(set_to_none=True)
        (loss * weight).backward()
        if self.recipe.optim.clip:
            self.norm = nn.utils.clip_grad_norm_(plan.model.parameters(), self.recipe.optim.clip)
        plan.optimiser.step()
        if plan.ema is not None:
            plan.ema.update(plan.model, step=self.done)
        return value

    def _count(self, batch: Batch, loss: float | None, hits: int | None) -> tuple[float, float | None]:
        """Add a step of all processes to the position, and let them agree on stopping and saving after it.

        Returns (weight of this process's mean loss, so that every image counts the same; the mean loss of all).
        """
        position, train = self.position, self.recipe.train
        count = len(batch.labels)
        looked, unmixed = (0 if value is None else count for value in (loss, hits))
        late = self.team.first and time.monotonic() - self.saved > train.save_seconds
        mine = [count, looked, (loss or 0.0) * looked, unmixed, hits or 0, len(batch.unreadable), late, self.interrupt.caught]
        images, weighed, loss_sum, judged, right, unreadable, due, caught = self.team.sum(mine)
        position.seen += int(images)
        position.weighed += int(weighed)
        position.loss_sum += loss_sum
        position.judged += int(judged)
        position.hits += int(right)
        position.unreadable += int(unreadable)
        self.journal.count(int(images))
        self.stopping = caught > 0
        self.save_due = due > 0 or bool(train.save_steps and (self.done + 1) % train.save_steps == 0)
        return count * self.team.size / max(images, 1), loss_sum / weighed if weighed else None

    def _close_epoch(self) -> None:
        """Validate, record, keep the best, save."""
        position, plan = self.position, self.plan
        started = time.monotonic()
        record: dict[str, Any] = {
            "epoch": position.epoch + 1,
            "step": self.done,
            "lr": plan.optimiser.param_groups[0]["lr"],
            "train_loss": position.loss_sum / max(position.weighed, 1),
            "train_top1": position.hits / position.judged if position.judged else None,
        }
        val = self._validate(plan.model)
        found = {"raw": val}
        record |= {"val_loss": val.loss, "val_top1": val.top1, "val_top5": val.top5}
        if plan.ema is not None:
            found["ema"] = self._validate(plan.ema.module)
            record |= {"ema_loss": found["ema"].loss, "ema_top1": found["ema"].top1}
        position.unreadable += val.unreadable
        position.seconds += time.monotonic() - started
        record |= {"images_per_s": self.rate, "seconds": position.seconds, "unreadable": position.unreadable}
        winner = max(found, key=lambda name: found[name].rank)
        better = found[winner].rank > (position.best_top1, -position.best_loss)
        position.begin_epoch()
        if better:
            position.best_epoch, position.best_weights = position.epoch, winner
            position.best_top1, position.best_loss = found[winner].top1, found[winner].loss
            self._write("best", plan.ema.module if winner == "ema" and plan.ema else plan.model, found[winner].top1)
        if position.epoch == self.recipe.train.epochs:
            self._write("last", plan.model, val.top1)
        if self.team.first:
            self.run.append(self.run.metrics, record)
        self.journal.epoch(record)
        self._save()
        left = position.seconds / position.epoch * (self.recipe.train.epochs - position.epoch)
        self.display.epoch(record, epochs=self.recipe.train.epochs, left=left, best=better)

    def _validate(self, model: nn.Module) -> Verdict:
        found = validate(self.plan, model, note=self._note_unreadable, stop=lambda: self.interrupt.caught)
        if not found.images:
            self._list_unreadable()
            raise TrainingError("no validation image could be read", mend=f"see {self.run.unreadable} and replace the files")
        return found

    def _note_unreadable(self, batch: Batch) -> None:
        self.unlisted += [(path, reason) for path, reason in batch.unreadable if path not in self.listed]

    def _list_unreadable(self) -> None:
        """Write what any process has met, each file once."""
        for path, reason in (item for found in self.team.gathered(self.unlisted) for item in found):
            if path not in self.listed and self.team.first:
                self.run.append(self.run.unreadable, {"path": path, "reason": reason})
            self.listed.add(path)
        self.unlisted = []

    def _save(self) -> None:
        self._list_unreadable()
        checkpoint.save(self.run, self.position, self.parts, self.team, keep=self.recipe.train.keep)
        self.saved = time.monotonic()

    def _write(self, which: str, model: nn.Module, top1: float) -> None:
        """Weights with all that is needed to use them."""
        plain, tensors = self.plan.model, gathered_weights(model)
        if not self.team.first:
            return
        self.run.write_model(
            which,
            tensors,
            {
                **plain.card(),
                "classes": list(self.plan.source.classes),
                **self.cost,
                "epoch": self.position.epoch,
                "top1": top1,
            },
        )
