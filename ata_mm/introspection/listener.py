# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Listener base class, the one way to observe a model in a forward pass."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.utils.hooks import RemovableHandle

from ata_mm.models import ATA, TemporalModule
from ata_mm.ops import Alignment
from ata_mm.ops.types import Grid

from .taps import Arguments, Call, Patches, Tap, temporal_modules

Read = Callable[[Tensor], Patches]


class AlignmentEvent(NamedTuple):
    """Alignment that a temporal module has followed in a forward pass.

    Patches are in the order of the frames.

    Args:
        name (str): Name of the temporal module in the model.
        features (Tensor): The features compared by the matching, (B, T, N, C).
        alignment (Alignment): The alignment, of shape (B, T, N).
        grid (tuple[int, int], optional): Height and width of the patch grid.
        computed (bool): False if the module reuses the alignment of an earlier
            one; see ``share_alignment`` of :class:`~ata_mm.models.ATA`.
    """

    name: str
    features: Tensor
    alignment: Alignment
    grid: Grid | None
    computed: bool


class Listener:
    """Base class of listeners to the temporal modules of a model.

    A subclass overrides the events that it needs. `attach` registers forward
    hooks of torch, the only mechanism, and `detach` removes them; a model
    without a listener has no overhead.

    All events report patches in the order of the frames. A model without
    de-alignment (``dealign=False``, Table 3) continues in route order, which
    the listener tracks and undoes within a forward pass, up to a change of the
    patch grid: the layers in between have mixed patches of different
    positions. Soft alignments of a stream in route order are
    reported as permutations.

    Activation checkpointing repeats forward passes in the backward pass. These
    are not reported, except to `on_matching_time`.

    Attributes:
        timed (bool): Measure the time of each matching, which synchronises the
            GPU twice. Set by the class. Defaults to False.
        paused (bool): Report no events. Defaults to False.

    Example:
        >>> class PrintDisplacement(Listener):
        ...     def on_alignment(self, event):
        ...         steps = event.alignment.displacement(event.grid)
        ...         print(event.name, steps.mean().item())
        >>> with PrintDisplacement().attach(model):
        ...     model.test_step(batch)
    """

    timed: bool = False

    def __init__(self) -> None:
        self.paused = False
        self._handles: list[RemovableHandle] = []
        self._start_time = 0.0
        self._reset()

    def taps(self, model: nn.Module) -> Sequence[Tap]:
        """Return the taps that `on_patches` reports; by default none.

        Args:
            model (nn.Module): The model that the listener is attached to.
        """
        return ()

    def on_alignment(self, event: AlignmentEvent) -> None:
        """Handle the alignment that a temporal module has followed.

        Args:
            event (AlignmentEvent): The alignment, and the matched features.
        """

    def on_matching_time(self, seconds: float) -> None:
        """Handle the time of a matching, if the class is `timed`.

        Args:
            seconds (float): Its duration. Repeated matchings are included.
        """

    def on_patches(self, tap: Tap, x: Tensor, read: Read) -> None:
        """Handle a tensor that contains patches.

        Args:
            tap (Tap): One of `taps`.
            x (Tensor): The tensor, in the layout of the model.
            read (Callable): Maps the tensor, or its gradient, to patches
                (B, T, N, C) and their grid. Valid after the forward pass, too.
        """

    def on_output(self, output: Any) -> None:
        """Handle the output of the model, at the end of a forward pass.

        Args:
            output (object): The return value of the model's forward.
        """

    def attach(self, model: nn.Module) -> 'Listener':
        """Listen to a model, and no longer to a previous one.

        Args:
            model (nn.Module): A recognizer, or any module that contains
                temporal modules; a wrapper, such as that of distributed
                training, is removed.

        Returns:
            Listener: Itself, a context manager that detaches it.
        """
        self.detach()
        # A wrapper is not called in validation, only the module within.
        if is_model_wrapper(model):
            model = model.get_submodule('module')
        modules = temporal_modules(model)
        if modules:
            self._add_start_hooks(model, modules[0][0])
        for name, module in modules:
            if isinstance(module, ATA):
                self._add_aligner_hooks(module.aligner)
            if isinstance(module, TemporalModule):
                self._after(
                    module, partial(self._report_alignment, name, module)
                )
        # Hooks run in the order of registration: a tap behind a temporal
        # module is read after that module has updated the order.
        for tap in self.taps(model):
            add = self._before if tap.before else self._after
            add(tap.module, partial(self._report_patches, tap))
        self._after(model, self._report_output)
        return self

    def detach(self) -> None:
        """Remove all hooks from the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._reset()

    def __enter__(self) -> 'Listener':
        return self

    def __exit__(self, *exception: object) -> None:
        self.detach()

    def _add_start_hooks(self, model: nn.Module, first: str) -> None:
        # A forward pass starts at a module that contains the first temporal
        # module. This is not always the model: with max_testing_views, a
        # recognizer calls its backbone several times, once for some views.
        for name, module in model.named_modules():
            if name in ('', first) or first.startswith(f'{name}.'):
                self._before(module, lambda call: self._reset())

    def _add_aligner_hooks(self, aligner: nn.Module) -> None:
        self._after(aligner, self._note_alignment)
        if self.timed:
            start, stop = _untraced(self._start), _untraced(self._stop)
            self._handles += [
                aligner.register_forward_pre_hook(start),
                aligner.register_forward_hook(stop),
            ]

    def _before(
        self, module: nn.Module, handle: Callable[[Call], None]
    ) -> None:
        """Handle the calls of a module, before it runs."""

        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self._dispatch(handle, Call(args, kwargs))

        self._handles.append(
            module.register_forward_pre_hook(_untraced(hook), with_kwargs=True)
        )

    def _after(
        self, module: nn.Module, handle: Callable[[Call], None]
    ) -> None:
        """Handle the calls of a module, after it has run."""

        def hook(
            module: nn.Module, args: tuple, kwargs: dict, output: Any
        ) -> None:
            self._dispatch(handle, Call(args, kwargs, output))

        self._handles.append(
            module.register_forward_hook(_untraced(hook), with_kwargs=True)
        )

    def _dispatch(self, handle: Callable[[Call], None], call: Call) -> None:
        # A forward call within a backward pass is a recomputation.
        in_backward = torch._C._current_graph_task_id() != -1
        if not self.paused and not in_backward:
            handle(call)

    def _start(self, *call: Any) -> None:
        if not self.paused:
            self._start_time = now()

    def _stop(self, *call: Any) -> None:
        if not self.paused:
            self.on_matching_time(now() - self._start_time)

    def _reset(self) -> None:
        """Start another forward pass."""
        self._order = StreamOrder()
        # By the last aligner, until the module that called it has run.
        self._computed: Alignment | None = None
        self._followed: Alignment | None = None  # by the last module

    def _note_alignment(self, call: Call) -> None:
        self._computed = call.output

    def _report_alignment(
        self, name: str, module: TemporalModule, call: Call
    ) -> None:
        x, position, grid, alignment = Arguments(*call.args, **call.kwargs)
        order = self._order = self._order.at(x, grid)
        if alignment is None:  # unless the module has called its own aligner
            alignment = self._computed
        self._computed = None
        if alignment is None:
            return
        with torch.no_grad():
            features = module.matched_features(x, position)
        # Modules that share an alignment get the same object.
        computed, self._followed = alignment is not self._followed, alignment
        alignment = order.restore_alignment(alignment)
        if not module.dealign:
            self._order = StreamOrder(Alignment(alignment.routes), grid)
        features = order.restore(features.detach())
        self.on_alignment(
            AlignmentEvent(name, features, alignment, grid, computed)
        )

    def _report_patches(self, tap: Tap, call: Call) -> None:
        order = self._order

        def read(x: Tensor) -> Patches:
            patches, grid = tap.read(x, call)
            return order.at(patches, grid).restore(patches), grid

        self.on_patches(tap, tap.select(call), read)

    def _report_output(self, call: Call) -> None:
        # Soft alignments keep the autograd graph of the forward pass alive.
        self._reset()
        self.on_output(call.output)


class StreamOrder(NamedTuple):
    """Order of the patches in the stream of a model without de-alignment.

    Args:
        alignment (Alignment, optional): Maps patches in the order of the
            frames to the order of the stream. Defaults to None: they agree.
        grid (tuple[int, int], optional): Height and width of the patch grid
            that it holds for. Defaults to None.
    """

    alignment: Alignment | None = None
    grid: Grid | None = None

    def at(self, x: Tensor, grid: Grid | None) -> 'StreamOrder':
        """Return the order of features (B, T, N, C) on a grid.

        Returns:
            StreamOrder: This one, or the order of the frames after a change of
            the grid.
        """
        if self.alignment is None or (
            self.alignment.shape == x.shape[:3] and self.grid == grid
        ):
            return self
        return StreamOrder()

    def restore(self, x: Tensor) -> Tensor:
        """Return features (B, T, N, C) in the order of the frames."""
        return x if self.alignment is None else self.alignment.dealign(x)

    def restore_alignment(self, alignment: Alignment) -> Alignment:
        """Return an alignment of the stream as one of the frames."""
        if self.alignment is None:
            return alignment
        return alignment.after(self.alignment)


def now() -> float:
    """Return the time in seconds, after device synchronisation."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def _untraced(hook: Callable) -> Callable:
    """Wrap a hook to run outside of the graphs of torch.compile."""

    def wrapper(*args: Any) -> None:
        # A traced hook would be compiled again in every pass, since it changes
        # the listener. Not disabled in advance: that imports the compiler,
        # which takes a second.
        run = torch.compiler.disable(hook) if is_compiling() else hook
        run(*args)

    return wrapper
