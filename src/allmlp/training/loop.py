"""The only training loop."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from allmlp.data.damage import refuse_too_many
from allmlp.data.loader import Batch
from allmlp.data.workers import EpochOrder, LastingLoader
from allmlp.errors import TrainingError
from allmlp.pages import pages_kept
from allmlp.run import Run, read_lines
from allmlp.training import checkpoint
from allmlp.training.checkpoint import Position
from allmlp.training.display import Display
from allmlp.training.distributed import gathered_weights, unsharded
from allmlp.training.divergence import Diverged, diverged, refuse_broken
from allmlp.training.freeze import learning
from allmlp.training.growth import keep_snapshot, wanted
from allmlp.training.interrupt import Interrupt
from allmlp.training.journal import Journal
from allmlp.training.optim import peak
from allmlp.training.plan import Choice, Look, Plan, Stopped
from allmlp.training.setup import unchanged_training_batches
from allmlp.training.stages import plan_at
from allmlp.training.step import update
from allmlp.training.tally import Bad, Tally

LOOK_EVERY = 50
"""Steps between looks at the loss on an accelerator."""


class Loop:
    """One run from a position to its end, or to a signal."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        position: Position,
        display: Display,
        journal: Journal,
        note: Callable[[], None] = lambda: None,
    ) -> None:
        """note: what the first process does when an epoch is over and its line written."""
        self.run, self.position, self.display, self.journal, self.note = run, position, display, journal, note
        self._take(plan)
        self.recipe, self.team = plan.recipe, plan.team
        self.tally = Tally(
            position, plan.team, every=1 if plan.device.type == "cpu" else LOOK_EVERY, scaled=plan.scaler.is_enabled()
        )
        self.interrupt = Interrupt()
        self.stopping = False
        """Whether a signal has reached any process of the team."""
        self.saved, self.save_due = time.monotonic(), False
        self.norm: torch.Tensor | None = None
        """Of the last gradient, before it was clipped."""
        self.unlisted: list[tuple[str, str]] = []
        self.listed = {record["path"] for record in read_lines(run.unreadable)}
        self.broken: dict[str, str] = {}
        """Path → reason of what could not be decoded since the run began or went on: it may have been repaired in between."""

    def fit(self) -> bool:
        """Train to the end; False when a signal stopped it. Raises Diverged when the loss leaves all bounds."""
        epochs = self.recipe.train.epochs
        position = self.position
        self._ask_teacher()
        if not self.done:
            self._keep_mixing()
        if self.recipe.train.retry and not self.done:
            self._save()
        with self.interrupt, pages_kept():
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

    def _take(self, plan: Plan) -> None:
        """From now on this is what is trained."""
        self.plan = plan
        for batches in (plan.train_batches, plan.val_batches):
            if isinstance(batches, LastingLoader):
                batches.tell, batches.patience = self._tell, plan.recipe.train.process_timeout / 2
        self.product = plan.task.product(plan)

    def _tell(self, text: str) -> None:
        self.display.say(text, "yellow")

    @property
    def done(self) -> int:
        """Steps done since the beginning of the run."""
        return self.position.epoch * self.plan.steps + self.position.step

    def _train_epoch(self) -> None:
        """The steps of the current epoch that are not done yet."""
        position, plan = self.position, self.plan
        order = plan.train_batches.batch_sampler
        assert isinstance(order, EpochOrder)
        order.epoch, order.start = position.epoch, position.step
        learning(plan.model)
        began = last = time.monotonic()
        ran = time.process_time()
        seen_before = position.seen
        mixing = position.epoch < self.recipe.train.epochs - self.recipe.augment.mix_off
        for batch in plan.train_batches if position.step < plan.steps else ():
            self._step(batch, mixing=mixing)
            last, before = time.monotonic(), last
            position.seconds += last - before
            position.cpu_seconds, ran = position.cpu_seconds + time.process_time() - ran, time.process_time()
            self.display.step(
                epoch=position.epoch + 1,
                epochs=self.recipe.train.epochs,
                done=self.done,
                loss=position.loss_sum / max(position.weighed, 1),
                accuracy=position.hits / position.judged if position.judged else None,
                rate=(position.seen - seen_before) / (last - began),
            )
            if self.journal.due(self.done):
                self.journal.step(self.done, self._last_step())
            if self.stopping or (self.team.size == 1 and self.interrupt.caught):
                raise Stopped
            if self.save_due:
                self._save()
        self._settle()
        self.rate = (position.seen - seen_before) / max(time.monotonic() - began, 1e-9)

    def _last_step(self) -> dict[str, float | None]:
        """What a line of steps.jsonl says; every process takes part."""
        weights = nn.utils.get_total_norm([weight.detach() for weight in self.plan.model.parameters()])
        return {
            "epoch": self.position.epoch + 1,
            "loss": self.tally.loss,
            "lr": peak(self.plan.optimiser),
            "grad_norm": None if self.norm is None else float(unsharded(self.norm)),
            "weight_norm": float(unsharded(weights)),
        }

    def _step(self, batch: Batch, *, mixing: bool) -> None:
        """One update by all processes, if any of them has an image."""
        position = self.position
        self._note_unreadable(batch)
        images, mine = self._agree(batch), len(batch.labels)
        if images:
            weight, slowdown = mine * self.team.size / images, 0.5**position.retries
            outcome = update(self.plan, batch, self.done, mixing=mixing, weight=weight, slowdown=slowdown)
            self.tally.add(position.step, outcome, mine)
            self.norm = outcome.norm
        position.step += 1
        if self.tally.due or self.journal.due(self.done):
            self._settle()

    def _agree(self, batch: Batch) -> int:
        """Images of all processes together; and whether they will all stop or save after this step."""
        position, train = self.position, self.recipe.train
        late = self.team.first and time.monotonic() - self.saved > train.save_seconds
        mine = [len(batch.labels), len(batch.unreadable), len(self.unlisted), late, self.interrupt.caught]
        images, unreadable, unlisted, due, caught = self.team.sum(mine)
        position.seen += int(images)
        position.unreadable += int(unreadable)
        if unlisted:
            self._list_unreadable()
        self.journal.count(int(images))
        self.stopping = caught > 0
        self.save_due = due > 0 or bool(train.save_steps and (self.done + 1) % train.save_steps == 0)
        return int(images)

    def _settle(self) -> None:
        """Look at the steps since the last look."""
        bad = self.tally.settle()
        if bad is not None:
            raise diverged(self.plan, self.run, self.position.epoch, bad)

    def _refuse_broken(self) -> None:
        """Before a file is written that replaces a good one."""
        refuse_broken(
            self.plan,
            self.run,
            self.position.epoch,
            Bad(max(self.position.step - 1, 0), self.tally.loss or 0.0, 0.0, broken=True),
        )

    def go_back(self, error: Diverged) -> None:
        """To the last end of an epoch, from where the run goes on at half the rate. Raises RunError when there is none.

        Not to a checkpoint inside an epoch: when those are written depends on the clock and on signals, and the same run has to
        end in the same bits.
        """
        retries = self.position.retries + 1
        if error.bound is not None:
            checkpoint.forget(self.run, Position(*error.bound), self.team)
        found, plan = checkpoint.load(
            self.run,
            lambda at: plan_at(self.plan, at.epoch),
            self.team,
            lambda text: self.display.say(text, "yellow"),
            first=checkpoint.ends_epoch,
        )
        self._take(plan)
        self.position = replace(found, retries=retries)
        self.tally = Tally(self.position, self.team, every=self.tally.every, scaled=self.tally.scaled)
        self._save()

    def _ask_teacher(self) -> None:
        plan = self.plan
        if plan.distiller is not None:
            batches = unchanged_training_batches(plan)
            quiet = self.display.console.quiet
            plan.distiller.remember(plan.source.train, batches, self.run.folder, steps=len(batches), quiet=quiet)

    def _close_epoch(self) -> None:
        """Validate, record, keep the best, save."""
        position, plan = self.position, self.plan
        self._refuse_broken()
        started, ran = time.monotonic(), time.process_time()
        record: dict[str, Any] = {
            "epoch": position.epoch + 1,
            "step": self.done,
            "lr": peak(plan.optimiser),
            "train_loss": position.loss_sum / max(position.weighed, 1),
            "train_top1": position.hits / position.judged if position.judged else None,
        }
        judged = plan.task.judge(plan, position.epoch + 1, Look(self._note_unreadable, lambda: self.interrupt.caught))
        self._list_unreadable()
        if judged.broken is not None:
            bad = Bad(max(position.step - 1, 0), judged.best.loss, 0.0)
            raise diverged(plan, self.run, position.epoch, bad, judged=judged.broken)
        record |= judged.record
        position.unreadable += judged.unreadable
        position.seconds += time.monotonic() - started
        position.cpu_seconds += time.process_time() - ran
        record |= {f"{plan.task.counts}_per_s": self.rate, "seconds": position.seconds, "unreadable": position.unreadable}
        before = Choice(position.best_weights, position.best_top1, position.best_loss)
        better = plan.sizes.changes(position.epoch) or judged.best.rank > before.rank
        if judged.worrying is not None:
            self.display.say(judged.worrying, "yellow")
        position.begin_epoch()
        self._keep_mixing()
        if better:
            position.best_epoch, position.best_weights = position.epoch, judged.best.weights
            position.best_top1, position.best_loss = judged.best.rank[0], judged.best.loss
            self._write("best", judged.best)
        if position.epoch == self.recipe.train.epochs:
            self._write("last", judged.last)
        if self.team.first:
            self.run.append(self.run.metrics, record)
            self.note()
        self.journal.epoch(record)
        left = position.seconds * plan.sizes.left(position.epoch, self.recipe.train.epochs)
        self.display.epoch(record, epochs=self.recipe.train.epochs, left=left, best=better)
        self._change_size()
        self._save()

    def _keep_mixing(self) -> None:
        """A little of the token mixing, for the report; not of weights that lie in pieces."""
        epoch = self.position.epoch
        if self.team.first and self.plan.parallel != "fsdp" and wanted(epoch, self.recipe.train.epochs):
            keep_snapshot(self.run, self.plan.model, epoch)

    def _change_size(self) -> None:
        """Where the next epoch has another image size, everything goes on at that: before the checkpoint, so that one
        always holds the model its position trains."""
        plan = plan_at(self.plan, self.position.epoch)
        if plan is not self.plan:
            self._take(plan)
            self.display.say("images of {}×{} pixels from now on".format(*plan.model.img_size))
            self._ask_teacher()

    def _note_unreadable(self, batch: Batch) -> None:
        self.unlisted += [(path, reason) for path, reason in batch.unreadable if path not in self.broken]

    def _list_unreadable(self) -> None:
        """Write what any process has met, each file once. Raises TrainingError, in all of them, when they are too many."""
        before = len(self.broken)
        for path, reason in (item for found in self.team.gathered(self.unlisted) for item in found):
            if path not in self.listed and self.team.first:
                self.run.append(self.run.unreadable, {"path": path, "reason": reason})
            self.listed.add(path)
            self.broken.setdefault(path, reason)
        self.unlisted = []
        if len(self.broken) > before:
            source, most = self.plan.source, self.recipe.data.max_bad_share
            failures = [*source.left_out, *self.broken.items()]
            share = source.bad_share_with(len(self.broken))
            refuse_too_many(failures, share, most, kind=TrainingError, where=f"the files in {self.run.unreadable}")

    def _save(self) -> None:
        self._settle()
        self._refuse_broken()
        self._list_unreadable()
        unjudged = self.position.step == self.plan.steps  # weights whose validation is yet to come push no others out
        keep = self.recipe.train.keep + unjudged
        checkpoint.save(self.run, self.position, self.plan.parts, self.team, keep=keep, anchor=self._anchor)
        self.saved = time.monotonic()

    def _anchor(self, name: str) -> bool:
        """Whether the run may have to go back to a checkpoint of this name."""
        return self.recipe.train.retry > 0 and checkpoint.ends_epoch(name)

    def _write(self, which: str, chosen: Choice) -> None:
        """Weights with all that is needed to use them."""
        ema = self.plan.ema
        tensors = gathered_weights(ema.module if chosen.weights == "ema" and ema is not None else self.plan.model)
        if not self.team.first:
            return
        self.run.write_model(
            which,
            {name: tensors[name] for name in tensors if name in self.product.names},
            {**self.product.card, "epoch": self.position.epoch, "top1": chosen.top1},
        )
