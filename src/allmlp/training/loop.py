"""The only training loop."""

# axes: b batch, k classes

import math
import time
from typing import Any

import torch
from torch import nn

from allmlp import metrics
from allmlp.data.keys import seed_everything
from allmlp.data.loader import Batch, Order
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.engine.device import autocast, placed
from allmlp.engine.infer import gather
from allmlp.errors import TrainingError
from allmlp.run import Run, read_lines
from allmlp.training import checkpoint
from allmlp.training.checkpoint import Position
from allmlp.training.display import Display
from allmlp.training.interrupt import Interrupt
from allmlp.training.objectives import cross_entropy
from allmlp.training.setup import Plan

SAVE_EVERY = 300.0
"""Seconds between checkpoints inside an epoch."""
LOOK_EVERY = 50
"""Steps between looks at the loss on an accelerator, where each look waits for the device."""


class Stopped(Exception):
    """A signal arrived; everything is saved."""


class Loop:
    """One run from a position to its end, or to a signal."""

    def __init__(self, plan: Plan, run: Run, position: Position, display: Display) -> None:
        self.plan, self.run, self.position, self.display = plan, run, position, display
        self.recipe = plan.recipe
        self.parts: dict[str, Any] = {"model": plan.model, "optimiser": plan.optimiser}
        if plan.ema is not None:
            self.parts["ema"] = plan.ema.module
        self.interrupt = Interrupt()
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
        started = saved = time.monotonic()
        seen_before = position.seen
        mixing = position.epoch < self.recipe.train.epochs - self.recipe.augment.mix_off
        for batch in plan.train_batches if position.step < plan.steps else ():
            loss, hits = self._step(batch, mixing=mixing)
            position.step += 1
            position.seen += len(batch.labels)
            position.loss_sum += loss * len(batch.labels)
            position.hits += hits or 0
            position.judged += len(batch.labels) if hits is not None else 0
            now = time.monotonic()
            self.display.step(
                epoch=position.epoch + 1,
                epochs=self.recipe.train.epochs,
                done=self.done,
                loss=position.loss_sum / max(position.seen, 1),
                accuracy=position.hits / position.judged if position.judged else None,
                rate=(position.seen - seen_before) / (now - started),
            )
            if self.interrupt.signal is not None:
                position.seconds += now - started
                raise Stopped
            if now - saved > SAVE_EVERY:
                position.seconds, started_before = position.seconds + now - started, started
                self._save()
                position.seconds -= now - started_before
                saved = time.monotonic()
        position.seconds += time.monotonic() - started
        self.rate = (position.seen - seen_before) / max(time.monotonic() - started, 1e-9)

    def _step(self, batch: Batch, *, mixing: bool) -> tuple[float, int | None]:
        """One update. Returns (loss, right answers; None where images were mixed)."""
        plan = self.plan
        self._note_unreadable(batch)
        if not len(batch.labels):
            return 0.0, None
        seed_everything(self.recipe.seed, "step", self.done)
        if plan.device.type == "cuda":
            torch.cuda.manual_seed(torch.initial_seed())
        images, labels = placed(batch.images, plan.model, plan.device), batch.labels.to(plan.device, non_blocking=True)
        mixed, target = plan.mix(images, labels, mixing=mixing)
        with autocast(plan.device, plan.precision):
            logits = plan.model(mixed)
        loss = cross_entropy(logits, target)
        value = float(loss.detach()) if plan.device.type == "cpu" or self.done % LOOK_EVERY == 0 else 0.0
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {self.done + 1} (epoch {self.position.epoch + 1})",
                mend=f"use a lower --optim.lr or a longer --optim.warmup; the best epoch's weights are in {self.run.folder}",
            )
        plan.schedule.step_update(self.done)
        plan.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.optim.clip:
            nn.utils.clip_grad_norm_(plan.model.parameters(), self.recipe.optim.clip)
        plan.optimiser.step()
        if plan.ema is not None:
            plan.ema.update(plan.model, step=self.done)
        hits = None if mixed is not images else int((logits.detach().argmax(1) == labels).sum())
        return value, hits

    def _close_epoch(self) -> None:
        """Validate, record, keep the best, save."""
        position, plan = self.position, self.plan
        started = time.monotonic()
        record: dict[str, Any] = {
            "epoch": position.epoch + 1,
            "step": self.done,
            "lr": plan.optimiser.param_groups[0]["lr"],
            "train_loss": position.loss_sum / max(position.seen, 1),
            "train_top1": position.hits / position.judged if position.judged else None,
        }
        found = {"val": self._validate(plan.model)}
        record |= {f"val_{k}": v for k, v in found["val"].items()}
        if plan.ema is not None:
            found["ema"] = self._validate(plan.ema.module)
            record |= {"ema_loss": found["ema"]["loss"], "ema_top1": found["ema"]["top1"]}
        position.seconds += time.monotonic() - started
        record |= {"images_per_s": self.rate, "seconds": position.seconds, "unreadable": position.unreadable}
        winner = max(found, key=lambda name: (found[name]["top1"], -found[name]["loss"]))
        better = (found[winner]["top1"], -found[winner]["loss"]) > (position.best_top1, -position.best_loss)
        position.begin_epoch()
        if better:
            position.best_epoch, position.best_weights = position.epoch, "ema" if winner == "ema" else "raw"
            position.best_top1, position.best_loss = found[winner]["top1"], found[winner]["loss"]
            self._write("best", plan.ema.module if winner == "ema" and plan.ema else plan.model, found[winner]["top1"])
        self.run.append(self.run.metrics, record)
        self._save()
        left = position.seconds / position.epoch * (self.recipe.train.epochs - position.epoch)
        self.display.epoch(record, epochs=self.recipe.train.epochs, left=left, best=better)
        if position.epoch == self.recipe.train.epochs:
            self._write("last", plan.model, found["val"]["top1"])

    def _validate(self, model: nn.Module) -> dict[str, float]:
        """Loss, top-1 and top-5 on the validation images. Raises Stopped when a signal arrives."""

        def look(batch: Batch) -> None:
            if model is self.plan.model:
                self._note_unreadable(batch)
            if self.interrupt.signal is not None:
                raise Stopped

        out = gather(
            model,  # type: ignore[arg-type]
            self.plan.val_batches,
            device=self.plan.device,
            precision=self.plan.precision,
            after=look,
        )
        if not len(out.labels):
            raise TrainingError("no validation image could be read", mend=f"see {self.run.unreadable} and replace the files")
        return {
            "loss": metrics.cross_entropy(out.logits, out.labels),
            "top1": metrics.top_k(out.logits, out.labels, 1),
            "top5": metrics.top_k(out.logits, out.labels, 5),
        }

    def _note_unreadable(self, batch: Batch) -> None:
        """Count each failure, and list each file once."""
        self.position.unreadable += len(batch.unreadable)
        for path, reason in batch.unreadable:
            if path not in self.listed:
                self.listed.add(path)
                self.run.append(self.run.unreadable, {"path": path, "reason": reason})

    def _save(self) -> None:
        checkpoint.save(self.run, self.position, self.parts)

    def _write(self, which: str, model: nn.Module, top1: float) -> None:
        """Weights with all that is needed to use them."""
        plain = self.plan.model
        self.run.write_model(
            which,
            model.state_dict(),
            {
                **plain.card(),
                "classes": list(self.plan.source.classes),
                **self.cost,
                "epoch": self.position.epoch,
                "top1": top1,
            },
        )
