# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Dry run of an image model: its blocks, layouts and unused parameters."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...layouts import ImageSize, Layout, find_layout

Shape = tuple[int, ...]

# Attributes in which timm and mmpretrain state how many tokens of a model are
# not patches.
_PREFIX_TOKENS = ('num_prefix_tokens', 'num_extra_tokens')


class DryRun(NamedTuple):
    """Record of one image's forward pass through a model.

    Args:
        img_size (tuple[int, int]): Height and width of the image.
        shapes (dict[str, tuple[int, ...]]): By module name, the shape of the
            first tensor argument of the module's first call.
        varying (set[str]): Modules called again with another shape.
        output (Tensor): The features, with their autograd graph.
        prefix_tokens (int, optional): Number of tokens that are not patches,
            if the model states it.
        reordered (bool): Whether the model groups its tokens by window, as
            timm's Hiera and NesT do.
    """

    img_size: ImageSize
    shapes: dict[str, Shape]
    varying: set[str]
    output: Tensor
    prefix_tokens: int | None
    reordered: bool


def dry_run(
    image: nn.Module, features: Callable[[Tensor], Tensor], img_size: ImageSize
) -> DryRun:
    """Run a model on one black image and leave the model unchanged.

    Running statistics, the mode of each module and the states of the random
    number generators are preserved. Works on the meta device.

    Args:
        image (nn.Module): The model.
        features (Callable): Computes the features of images with that model.
        img_size (tuple[int, int]): Height and width of the image.

    Raises:
        ValueError: If the model fails on such an image.
    """
    shapes: dict[str, Shape] = {}
    varying: set[str] = set()
    handles = [
        module.register_forward_pre_hook(
            _record_shape(shapes, varying, name), with_kwargs=True
        )
        for name, module in image.named_modules()
        if name
    ]
    weight = next(image.parameters(), torch.empty(0))
    black = weight.new_zeros(1, 3, *img_size)
    try:
        # With gradients, whose graph shows the parameters in use.
        with _evaluating(image), torch.enable_grad():
            output = features(black)
    except Exception as error:
        raise ValueError(
            f'Expected {type(image).__name__} to compute features of an image '
            f'{tuple(black.shape)}, got {type(error).__name__}: {error} '
            'Check that img_size fits the image backbone.'
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return DryRun(
        img_size,
        shapes,
        varying,
        output,
        _prefix_tokens(image),
        hasattr(image, 'unroll') or type(image).__name__ == 'Nest',
    )


def _record_shape(
    shapes: dict[str, Shape], varying: set[str], name: str
) -> Callable:
    """Build a forward pre-hook that records the shape of the first tensor."""

    def record(x: Tensor) -> Tensor:
        if shapes.setdefault(name, tuple(x.shape)) != tuple(x.shape):
            varying.add(name)
        return x

    def hook(_: nn.Module, args: tuple, kwargs: dict) -> None:
        map_first_tensor(record, args, kwargs)

    return hook


@contextmanager
def _evaluating(image: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and preserve random number generators.

    By train() of its modules, some of which keep attention biases while they
    are evaluated. What else it does, such as freezing stages, is undone.
    """
    modes = {module: module.training for module in image.modules()}
    devices = {p.get_device() for p in image.parameters() if p.is_cuda}
    _set_mode(image, False)
    try:
        with torch.random.fork_rng(sorted(devices)):
            yield
    finally:
        _set_mode(image, True)
        for module, mode in modes.items():
            module.training = mode


def _set_mode(image: nn.Module, training: bool) -> None:
    trainable = [p for p in image.parameters() if p.requires_grad]
    image.train(training)
    for parameter in trainable:
        parameter.requires_grad_(True)


def _prefix_tokens(image: nn.Module) -> int | None:
    """Return the number of prefix tokens that the model states, if any."""
    for name in _PREFIX_TOKENS:
        number = getattr(image, name, None)  # a model of another package
        if isinstance(number, int):
            return number
    return None


def last_feature(output: Any) -> Tensor:
    """Return the last feature tensor of an image model's output.

    Of a named tuple the first, whose others are auxiliary outputs.

    Raises:
        ValueError: If there is none.
    """
    while isinstance(output, (list, tuple)) and output:
        output = output[0 if hasattr(output, '_fields') else -1]
    if not torch.is_tensor(output):
        raise ValueError(
            'Expected an image backbone that returns a tensor, '
            f'or several in a sequence, got {type(output)}.'
        )
    return output


def map_first_tensor(
    function: Callable[[Tensor], Tensor], args: tuple, kwargs: dict
) -> tuple[tuple, dict]:
    """Apply a function to the first tensor argument of a call.

    Args:
        function (Callable): From tensor to tensor.
        args (tuple): Positional arguments, searched first.
        kwargs (dict): Keyword arguments.

    Returns:
        tuple[tuple, dict]: The arguments with the result in place of the
        tensor; unchanged if there is no tensor.
    """
    for i, value in enumerate(args):
        if torch.is_tensor(value):
            return (*args[:i], function(value), *args[i + 1 :]), kwargs
    for key, value in kwargs.items():
        if torch.is_tensor(value):
            return args, {**kwargs, key: function(value)}
    return args, kwargs


def unused_parameters(image: nn.Module, output: Tensor) -> list[str]:
    """Find the parameters that the features of a model do not depend on.

    Args:
        image (nn.Module): The model.
        output (Tensor): Features of a :func:`dry_run`.

    Returns:
        list[str]: Names of trainable parameters; empty if a reentrant
        activation checkpoint hides part of the graph.
    """
    used = set()
    nodes, seen = [output.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if 'CheckpointFunction' in node.name():
            return []
        # Only the leaves of the graph (AccumulateGrad) have a variable.
        used.add(id(getattr(node, 'variable', None)))
        nodes.extend(parent for parent, _ in node.next_functions)
    # A module with a train() of its own may have kept what it computes of its
    # parameters, outside the graph.
    used.update(
        id(parameter)
        for module in image.modules()
        if module is not image and type(module).train is not nn.Module.train
        for parameter in module.parameters(recurse=False)
    )
    return [
        name
        for name, parameter in image.named_parameters()
        if parameter.requires_grad and id(parameter) not in used
    ]


def find_blocks(
    image: nn.Module, patterns: str | Sequence[str], run: DryRun
) -> list[str]:
    """Return the names of modules that match a pattern, in call order.

    Patterns are compared segment by segment: 'stages.*.*' matches 'stages.0.1'
    but neither 'stages.0' nor 'stages.0.1.norm'.

    Args:
        image (nn.Module): The model.
        patterns (str | Sequence[str]): Names, or patterns as in
            :mod:`fnmatch`.
        run (DryRun): Of the model.

    Raises:
        ValueError: If a pattern matches no module.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    names = [name for name, _ in image.named_modules() if name]
    idle = [
        p for p in patterns if not any(_matches(name, p) for name in names)
    ]
    if idle or not patterns:
        raise ValueError(
            'Expected blocks to be patterns of module names of '
            f'{type(image).__name__}, got {patterns}, of which {idle} match '
            f'nothing. {_candidates(run)}'
        )
    found = [n for n in names if any(_matches(n, p) for p in patterns)]
    # Modules that are not called come last.
    order = {name: index for index, name in enumerate(run.shapes)}
    return sorted(found, key=lambda name: order.get(name, len(order)))


def patterns_of(names: Sequence[str], image: nn.Module) -> list[str]:
    """Return short patterns that match modules and no others.

    Args:
        names (Sequence[str]): Names of modules.
        image (nn.Module): The model.

    Returns:
        list[str]: A pattern such as ``'blocks.3.*'`` where all modules of a
        parent are named, the names elsewhere; one for each parent.
    """
    modules = [name for name, _ in image.named_modules() if name]
    for pattern in dict.fromkeys(re.sub(r'\d+', '*', n) for n in names):
        found = [name for name in modules if _matches(name, pattern)]
        if set(found) == set(names):
            return [pattern]
    patterns: list[str] = []
    for name in names:
        pattern = re.sub(r'\d+$', '*', name)
        found = [one for one in modules if _matches(one, pattern)]
        patterns.append(pattern if set(found) <= set(names) else name)
    return list(dict.fromkeys(patterns))


def propose_blocks(image: nn.Module, run: DryRun) -> list[str]:
    """Find the blocks of an image model to insert temporal modules before.

    They are the outermost modules of a class that occurs several times, has
    two linear layers or convolutions, a name that ends in a number, and is
    called with a feature map. Stages that contain several such modules of
    one class are not blocks, but those inside are.

    Args:
        image (nn.Module): The model.
        run (DryRun): Of the model.

    Returns:
        list[str]: Names of modules in model order; empty if there are none.
    """
    found = {
        name: type(image.get_submodule(name))
        for name, shape in run.shapes.items()
        if name[-1].isdigit()
        and name not in run.varying
        and shape[1:] != (3, *run.img_size)
        and _is_map(shape, run.img_size)
        and _is_block(image.get_submodule(name))
    }
    counts = Counter(found.values())
    found = {name: kind for name, kind in found.items() if counts[kind] > 1}
    blocks: list[str] = []
    for name in found:
        inner = Counter(
            kind for other, kind in found.items() if _within(other, name)
        )
        is_stage = any(number > 1 for number in inner.values())
        if not is_stage and not any(_within(name, block) for block in blocks):
            blocks.append(name)
    order = [name for name, _ in image.named_modules()]
    return sorted(blocks, key=order.index)


def _is_block(module: nn.Module) -> bool:
    learned = [
        part
        for part in module.modules()
        if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd))
    ]
    containers = (nn.Sequential, nn.ModuleList)
    return len(learned) > 1 and not isinstance(module, containers)


def _within(name: str, parent: str) -> bool:
    return name.startswith(f'{parent}.')


def _matches(name: str, pattern: str) -> bool:
    names, wanted = name.split('.'), pattern.split('.')
    return len(names) == len(wanted) and all(map(fnmatchcase, names, wanted))


def find_layouts(
    names: Sequence[str], run: DryRun, layout: str | dict
) -> list[Layout]:
    """Return the layouts of the inputs of blocks.

    Args:
        names (Sequence[str]): Names of the blocks.
        run (DryRun): Of the model.
        layout (str | dict): See :func:`~ata_mm.models.layouts.find_layout`.

    Raises:
        ValueError: If the input of a block is not a feature map in that
            layout, or its layout is ambiguous.
    """
    return [_find_block_layout(name, run, layout) for name in names]


def find_output_layout(run: DryRun, layout: str | dict) -> Layout:
    """Return the layout of the features, which may differ from the blocks'.

    Args:
        run (DryRun): Of the model.
        layout (str | dict): Layout of the blocks, used only if that of the
            features cannot be inferred.

    Raises:
        ValueError: If the layout is ambiguous and not ``layout`` either.
    """
    shape = tuple(run.output.shape)
    try:
        return find_layout(shape, run.img_size, 'auto', run.prefix_tokens)
    except ValueError:
        return find_layout(shape, run.img_size, layout, run.prefix_tokens)


def _find_block_layout(name: str, run: DryRun, layout: str | dict) -> Layout:
    shape = run.shapes.get(name)
    if shape is None:
        raise ValueError(
            f'Expected blocks that are called with a feature map, but {name} '
            f'is not called with a tensor. {_candidates(run)}'
        )
    try:
        found = find_layout(shape, run.img_size, layout, run.prefix_tokens)
    except ValueError as error:
        raise ValueError(
            f'{error} It is the input of block {name}. {_candidates(run)}'
        ) from None
    if found.kind == 'NC':
        raise ValueError(
            f'Expected blocks that are called with a feature map, but {name} '
            f'is called with vectors {shape}. {_candidates(run)}'
        )
    if run.reordered:
        raise ValueError(
            f'Expected the tokens of {name} in the order of the rows of their '
            'grid, but the model groups them by window. Use another model, '
            'such as timm.sam2_hiera_tiny instead of timm.hiera_tiny_224.'
        )
    if name in run.varying:
        raise ValueError(
            f'Expected blocks that are called with one shape, but {name} is '
            f'called with several. {_candidates(run)}'
        )
    return found


def _candidates(run: DryRun, limit: int = 12) -> str:
    """List patterns of modules whose input is a feature map, shortest first.

    Modules whose input is the image itself are left out.
    """
    # Numbers become wildcards; the keys of a dict are unique and in order.
    patterns = {
        re.sub(r'\d+', '*', name): None
        for name, shape in run.shapes.items()
        if shape[1:] != (3, *run.img_size) and _is_map(shape, run.img_size)
    }
    shown = sorted(patterns, key=lambda pattern: pattern.count('.'))[:limit]
    return (
        'Modules called with a feature map, as far as can be inferred: '
        f'{", ".join(shown) or "none"}.'
    )


def _is_map(shape: Shape, img_size: ImageSize) -> bool:
    try:
        return find_layout(shape, img_size).kind != 'NC'
    except ValueError:
        return False
