# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Hooks that make a resumed run equal to an uninterrupted one."""

import logging

from mmaction.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from .loops import ResumableEpochLoop, ResumableIterLoop
from .random_state import SeededBatchSampler, seed_generators

# Key of MessageHub, whose content is part of every checkpoint.
STATE = 'run_state'
# Key of the checkpoint.
GRADIENTS = 'accumulated_gradients'

_EPOCH, _ITERATION, _VALIDATION = range(3)


@HOOKS.register_module()
class RunStateHook(Hook):
    """Hook that records the position of a run and seeds its generators.

    It records the batches done in the epoch and the last validation in
    mmengine's MessageHub, that is in every checkpoint, and seeds the random
    number generators before each epoch, iteration and validation; see
    :mod:`ata_mm.engine.random_state`.
    """

    # Before hooks that draw random numbers or save checkpoints.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Move the loop to the position of the checkpoint, if resumed."""
        state = runner.message_hub.get_info(STATE)
        now = len(runner.train_dataloader)
        if state is None:
            state = dict(batch=0, batches=now, validated=0)
        if state['batches'] != now:
            print_log(
                f'An epoch has {now} batches, but had {state["batches"]} when '
                'the checkpoint was saved: the number of processes, the batch '
                'size or the data are others. The run goes on as another one; '
                'schedules by iteration, also converted ones '
                '(convert_to_iter_based), keep their length in iterations.',
                logger='current',
                level=logging.WARNING,
            )
        if isinstance(runner.train_loop, ResumableEpochLoop):
            runner.train_loop.start_at(state['batch'], state['batches'])
        runner.message_hub.update_info(STATE, state)
        self._record(runner, batches=now)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the generators, and tell the loader the epoch."""
        seed_generators(runner.seed, _EPOCH, runner.epoch)
        sampler = runner.train_dataloader.batch_sampler
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and isinstance(
            sampler, SeededBatchSampler
        ):
            sampler.epoch = runner.epoch

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed the generators."""
        seed_generators(runner.seed, _ITERATION, runner.iter)
        self._record(runner, batch=batch_idx)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Record the batch as done."""
        self._record(runner, batch=batch_idx + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Record the epoch as done."""
        self._record(runner, batch=0)

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed the generators, and the data loader by the position too."""
        seed_generators(runner.seed, _VALIDATION, runner.iter)
        sampler = runner.val_dataloader.batch_sampler
        if isinstance(sampler, SeededBatchSampler):
            sampler.epoch = runner.iter  # not the passes of this process

    def after_val_epoch(
        self, runner: Runner, metrics: dict | None = None
    ) -> None:
        """Record the validation."""
        self._record(runner, validated=runner.iter)

    def _record(self, runner: Runner, **state: int) -> None:
        recorded = runner.message_hub.get_info(STATE)
        if recorded is not None:  # None in a validation without a training
            recorded.update(state)


@HOOKS.register_module()
class AccumulatedGradientsHook(Hook):
    """Hook that saves and restores the gradients between two updates.

    With ``accumulative_counts``, a checkpoint may be saved before the
    gradients of its last iterations are used. Processes of a distributed
    training have different ones, of which a checkpoint could hold one only:
    there they are lost.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the gradients in a checkpoint with an optimizer."""
        gradients = {
            name: parameter.grad
            for name, parameter in runner.model.named_parameters()
            if parameter.grad is not None
        }
        if (
            'optimizer' in checkpoint
            and gradients
            and get_world_size() == 1
            and not _has_updated(runner.optim_wrapper)
        ):
            checkpoint[GRADIENTS] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the gradients of a checkpoint that is resumed."""
        gradients = checkpoint.get(GRADIENTS)
        if gradients and runner._resume:
            for name, parameter in runner.model.named_parameters():
                if name in gradients:
                    parameter.grad = gradients[name].to(parameter)
            # mmengine's warning, which follows, does not know it.
            print_log('The accumulated gradients are restored.', 'current')


def _has_updated(wrapper: object) -> bool:
    """Return whether the last iteration has used its gradients."""
    return not isinstance(wrapper, OptimWrapper) or wrapper.should_update()


@HOOKS.register_module()
class InterruptedValidationHook(Hook):
    """Hook that repeats a validation that the end of a process interrupted."""

    # After all hooks have been prepared for the training.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Validate if the checkpoint was saved before the validation."""
        loop = runner.train_loop
        state = runner.message_hub.get_info(STATE)
        if (
            runner.resumed_iter
            and isinstance(loop, (ResumableEpochLoop, ResumableIterLoop))
            and (state['batch'] == 0 or isinstance(loop, ResumableIterLoop))
            and state['validated'] != runner.iter
            and loop.validation_due
        ):
            print_log(
                'Repeating the validation that was interrupted.',
                logger='current',
            )
            runner.val_loop.run()
