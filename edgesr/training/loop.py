"""The training loop: steps, measurements, checkpoints.

What a step computes follows from the recipe, the images and the number of the step alone; hence
a training that was stopped, or killed, ends as one that was not.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from edgesr.errors import EdgeSRError
from edgesr.evaluation.benchmark_sets import by_network, mean_psnr
from edgesr.images.datasets import Pair
from edgesr.networks.reparam import fold
from edgesr.networks.spec import ArchSpec
from edgesr.training import state as checkpoint
from edgesr.training.data.batches import ResidentPatches, batches, resident
from edgesr.training.data.patches import PatchSampler
from edgesr.training.data.store import ImageStore
from edgesr.training.distributed import Processes
from edgesr.training.export import write_weights
from edgesr.training.folder import RunFolder, as_toml, write_text
from edgesr.training.log import Clock, Log, Row, draw_curve
from edgesr.training.losses import loss_function, with_ssim
from edgesr.training.optimisers import learning_rate
from edgesr.training.recipe import Position, Recipe, Stage
from edgesr.training.state import State, build_net, channels_last, new_optimizer

# Processes ask each other whether to stop only so often: asking waits for the slowest.
_STOP_EVERY = 10


class DivergedError(EdgeSRError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Status:
    """How far a training is.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: Mean since the last row of the log, in the network's value range.
        psnr_db: The last measurement, if there was one since this process began.
        best_db: The best one.
        measured: Whether this very step was measured.
        steps_per_second: Since the last row of the log, measurements left out.
    """

    step: int
    steps: int
    loss: float
    psnr_db: float | None
    best_db: float | None
    measured: bool
    steps_per_second: float


@dataclass(frozen=True)
class Loop:
    """What a training works with; `state` alone changes.

    Attributes:
        recipe: What to do.
        spec: The network.
        store: The training images.
        validation: The images to measure on.
        folder: Where everything is written.
        identity: What a checkpoint must have been made of.
        device: What computes.
        group: The processes that train together.
        state: The training.
        bicubic_db: What bicubic upscaling reaches on the validation images.
        facts: What the files of weights say of themselves.
        report: Told how far it is.
        should_stop: Asked between steps.
    """

    recipe: Recipe
    spec: ArchSpec
    store: ImageStore
    validation: Sequence[Pair]
    folder: RunFolder
    identity: dict[str, Any]
    device: torch.device
    group: Processes
    state: State
    bicubic_db: float
    facts: dict[str, Any]
    report: Callable[[Status], None]
    should_stop: Callable[[], bool]

    def run(self) -> bool:
        """Train to the end, or until told to stop.

        Returns:
            Whether the end was reached.

        Raises:
            DivergedError: The loss is no longer finite; the last checkpoint is from before.
            OutputError: Something cannot be written.
        """
        if self.state.step == 0:
            # The checkpoint comes first: by it the folder is known as this training's.
            self._save()
            if self.group.first:
                write_text(self.folder.recipe, as_toml(self.recipe))
        log = Log(self.folder.log, self.state.step) if self.group.first else None
        net = self.group.wrapped(self.state.net.train())
        finished = True
        while finished and self.state.step < self.recipe.steps:
            finished = self._run_stage(net, log)
        if log:
            self._draw(log)
        return finished

    @cached_property
    def _on_device(self) -> ResidentPatches | None:
        return resident(self.store, self.device)

    def _draw(self, log: Log) -> None:
        draw_curve(self.folder.curve, log.rows, self.bicubic_db)

    def _run_stage(self, net: nn.Module, log: Log | None) -> bool:
        """The steps that are left of the present stage; whether all were done."""
        state, begun = self.state, self.state.step
        stage, done = self.recipe.at(begun)
        if done == 0:
            state.optimizer = new_optimizer(state.net, self.recipe.optimizer, stage)
        sampler = PatchSampler(
            self.store,
            lr_patch=stage.lr_patch,
            batch=stage.batch,
            seed=self.recipe.seed,
            draw=self.recipe.draw,
            skip_small=True,
        )
        rows = self.group.rows(stage.batch)
        steps = range(begun, begun + stage.steps - done)
        clock = Clock(begun)
        step_fn = self._step_function(net, stage, rows)
        with contextlib.closing(
            batches(sampler, steps, rows, self.spec.value_range, str(self.device), self._on_device)
        ) as drawn:
            for step, (lr_nchw, hr_nchw) in zip(steps, drawn, strict=True):
                step_fn(lr_nchw, hr_nchw, Position(stage, step - begun + done))
                state.step = step + 1
                self._between_steps(log, clock)
                if state.step < self.recipe.steps and self._told_to_stop():
                    self._spend(clock)
                    self._save()
                    return False
        return True

    def _step_function(
        self, net: nn.Module, stage: Stage, rows: slice
    ) -> Callable[[Tensor, Tensor, Position], None]:
        recipe, state = self.recipe, self.state
        loss_of = with_ssim(
            loss_function(stage.loss, self.spec.value_range),
            stage.ssim_weight,
            self.spec.value_range,
        )
        # This process's rows weigh as they do in the whole batch. Gradients are averaged over the
        # processes, hence the factor.
        share = (rows.stop - rows.start) / stage.batch
        factor = share * self.group.count
        half = recipe.precision == "bfloat16"
        parameters = list(state.net.parameters())

        def step(lr_nchw: Tensor, hr_nchw: Tensor, position: Position) -> None:
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(stage, position.step)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                upscaled_nchw = net(lr_nchw)
            loss = loss_of(upscaled_nchw.float(), hr_nchw)
            state.optimizer.zero_grad(set_to_none=True)
            (loss * factor if factor != 1 else loss).backward()
            if recipe.gradient_clip is not None:
                nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip)
            state.optimizer.step()
            state.ema.update(state.step)
            state.loss_sum += loss.detach() * share
            state.loss_count += 1

        return step

    def _between_steps(self, log: Log | None, clock: Clock) -> None:
        """Log, measure and save, where it is time for it."""
        recipe, state = self.recipe, self.state
        last = state.step == recipe.steps
        measure = last or state.step % recipe.validate_every == 0
        if measure or state.step % recipe.log_every == 0:
            loss = float(self.group.total(state.loss_sum)) / state.loss_count
            self._check_finite(loss)
            clock.stop(state.step)
            psnr = self._measure() if measure and self.group.first else None
            self._spend(clock)
            self._log(log, clock, loss, psnr)
            state.loss_sum.zero_()
            state.loss_count = 0
            clock.start(state.step)
        if last or state.step % recipe.checkpoint_every == 0:
            self._spend(clock)
            self._save()

    def _spend(self, clock: Clock) -> None:
        self.state.seconds += clock.spent()

    def _measure(self) -> float:
        """Validate the averaged weights, keep them if they are the best, write them."""
        state = self.state
        plain = channels_last(fold(state.ema.net))
        upscale = by_network(plain, self.spec.value_range, self.device)
        psnr = mean_psnr(upscale, self.validation, self.spec.scale)
        if state.best_psnr is None or psnr > state.best_psnr:
            state.best_psnr, state.best_step = psnr, state.step
            state.best = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in state.ema.net.state_dict().items()
            }
        return psnr

    def _log(self, log: Log | None, clock: Clock, loss: float, psnr: float | None) -> None:
        state = self.state
        if log is None:
            return
        stage, done = self.recipe.at(state.step - 1)
        log.add(Row(state.step, learning_rate(stage, done), loss, psnr, state.seconds))
        if psnr is not None:
            self._export(psnr)
            if clock.curve_is_old():
                self._draw(log)
        last = next((row.psnr_y_db for row in reversed(log.rows) if row.psnr_y_db), None)
        self.report(
            Status(
                state.step,
                self.recipe.steps,
                loss,
                last,
                state.best_psnr,
                psnr is not None,
                clock.steps_per_second,
            )
        )

    def _export(self, psnr: float) -> None:
        """Write the averaged weights, the present and the best ones.

        This comes before the checkpoint of the same step: whatever a checkpoint counts as done
        has been written.
        """
        ema = self.state.ema.net
        facts = self.facts | {"step": self.state.step, "psnr_y_db": psnr}
        outputs = [(self.folder.model, fold(ema))]
        if self.recipe.training_form and self.spec.has_training_form:
            outputs.append((self.folder.training_form, ema))
        write_weights(outputs, facts, overwrite=True)
        best = build_net(self.recipe, self.spec)
        best.load_state_dict(self.state.best)
        facts = self.facts | {"step": self.state.best_step, "psnr_y_db": self.state.best_psnr}
        write_weights([(self.folder.best, fold(best))], facts, overwrite=True)

    def _check_finite(self, loss: float) -> None:
        """Refuse to go on with a training that has diverged, and above all to save it."""
        parameters = self.state.net.parameters()
        if math.isfinite(loss) and all(bool(p.isfinite().all()) for p in parameters):
            return
        raise DivergedError(
            f"the loss or the weights are no longer finite after step {self.state.step}; what was "
            "saved is from before: lower the rate, set gradient_clip or lengthen the warm-up in "
            "the recipe, and train into another folder"
        )

    def _told_to_stop(self) -> bool:
        if self.group.count == 1:
            return self.should_stop()
        if self.state.step % _STOP_EVERY:
            return False
        own = torch.tensor(float(self.should_stop()), device=self.device)
        return bool(self.group.total(own) > 0)

    def _save(self) -> None:
        """Write a checkpoint; every process takes part."""
        self._check_finite(float(self.state.loss_sum))
        random = self.group.gathered(checkpoint.random_state(self.device))
        loss_sum = self.group.total(self.state.loss_sum)
        if self.group.first:
            checkpoint.save(self.folder.checkpoint, self.state, self.identity, random, loss_sum)
        self.group.wait()
