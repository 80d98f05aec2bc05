# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""See what passes through an image model, and find blocks by their names."""
import re
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from torch import Tensor, nn

from ...layouts import Layout, Size, find_layout

Shape = Tuple[int, ...]


class DryRun(NamedTuple):
    """What one image met in a model.

    Args:
        img_size (tuple[int, int]): Height and width of the image.
        shapes (dict[str, tuple[int, ...]]): The shape of the first tensor
            that each module was first called with.
        output (Tensor): The features, with their graph.
        prefix_tokens (int, optional): How many tokens are no patches, where
            the model says so.
    """
    img_size: Size
    shapes: Dict[str, Shape]
    output: Tensor
    prefix_tokens: Optional[int]


def dry_run(image: nn.Module, features: Callable[[Tensor], Tensor],
            img_size: Size) -> DryRun:
    """Send one black image through a model and leave the model as it was.

    The statistics of its normalisation layers, the mode of each module and
    the random number generators do not change. Works on the meta device.

    Args:
        image (nn.Module): The model.
        features (Callable): Takes images to features by that model.
        img_size (tuple[int, int]): Height and width of the image.

    Raises:
        ValueError: If the model fails on such an image.
    """
    shapes: Dict[str, Shape] = {}
    handles = [
        module.register_forward_pre_hook(
            _note_shape(shapes, name), with_kwargs=True)
        for name, module in image.named_modules() if name
    ]
    weight = next(image.parameters(), torch.empty(0))
    black = weight.new_zeros(1, 3, *img_size)
    try:
        with _evaluating(image), torch.enable_grad():
            output = features(black)
    except Exception as error:
        raise ValueError(
            f'Expected {type(image).__name__} to make features of an image '
            f'{tuple(black.shape)}, but it fails: {error} Does img_size fit '
            'the image backbone?') from error
    finally:
        for handle in handles:
            handle.remove()
    return DryRun(img_size, shapes, output, _prefix_tokens(image))


def find_blocks(image: nn.Module, patterns: Union[str, Sequence[str]],
                run: DryRun) -> List[str]:
    """Names of modules that fit a pattern, in the order of the model.

    Patterns are compared segment by segment: 'stages.*.*' fits 'stages.0.1',
    and neither 'stages.0' nor 'stages.0.1.norm'.

    Args:
        image (nn.Module): The model.
        patterns (str | Sequence[str]): Names, or patterns as in
            :mod:`fnmatch`.
        run (DryRun): For candidates, in case there is none.

    Raises:
        ValueError: If a pattern fits no module.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    names = [name for name, _ in image.named_modules() if name]
    idle = [p for p in patterns if not any(_fits(name, p) for name in names)]
    if idle or not patterns:
        raise ValueError(
            'Expected blocks to be patterns of module names of '
            f'{type(image).__name__}, got {patterns}, of which {idle} match '
            f'nothing. {_candidates(run)}')
    return [name for name in names if any(_fits(name, p) for p in patterns)]


def find_layouts(names: Sequence[str], run: DryRun,
                 layout: Union[str, dict]) -> List[Layout]:
    """Layouts of the blocks' inputs.

    Raises:
        ValueError: If the input of a block is no feature map in that layout,
            or its layout cannot be told.
    """
    return [_find_block_layout(name, run, layout) for name in names]


def find_output_layout(run: DryRun, layout: Union[str, dict]) -> Layout:
    """The layout of the features, which may be another than the blocks'.

    Raises:
        ValueError: If it cannot be told, and is not ``layout``.
    """
    shape = tuple(run.output.shape)
    try:
        return find_layout(shape, run.img_size, 'auto', run.prefix_tokens)
    except ValueError:
        return find_layout(shape, run.img_size, layout, run.prefix_tokens)


def last_feature(output: Any) -> Tensor:
    """The last feature tensor of what an image model returns.

    Raises:
        ValueError: If there is none.
    """
    while isinstance(output, (list, tuple)) and output:
        output = output[-1]
    if not torch.is_tensor(output):
        raise ValueError('Expected an image backbone that returns a tensor, '
                         f'or several in a sequence, got {type(output)}.')
    return output


def unused_parameters(image: nn.Module, output: Tensor) -> List[str]:
    """Parameters that the features of a model do not depend on.

    Args:
        image (nn.Module): The model.
        output (Tensor): Features of a :func:`dry_run`.

    Returns:
        list[str]: Their names. None where recomputation hides the graph.
    """
    used, nodes, seen = set(), [output.grad_fn], {None}
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if 'CheckpointFunction' in node.name():
            return []
        used.add(id(getattr(node, 'variable', None)))
        nodes.extend(parent for parent, _ in node.next_functions)
    return [
        name for name, parameter in image.named_parameters()
        if parameter.requires_grad and id(parameter) not in used
    ]


def _fits(name: str, pattern: str) -> bool:
    names, wanted = name.split('.'), pattern.split('.')
    return len(names) == len(wanted) and all(map(fnmatchcase, names, wanted))


def _find_block_layout(name: str, run: DryRun, layout: Union[str,
                                                             dict]) -> Layout:
    shape = run.shapes.get(name)
    if shape is None:
        raise ValueError(
            f'Expected blocks that are called with a feature map, but {name} '
            f'is not called with a tensor. {_candidates(run)}')
    try:
        found = find_layout(shape, run.img_size, layout, run.prefix_tokens)
    except ValueError as error:
        raise ValueError(f'{error} It is the input of block {name}. '
                         f'{_candidates(run)}') from None
    if found.kind == 'NC':
        raise ValueError(
            f'Expected blocks that are called with a feature map, but {name} '
            f'is called with vectors {shape}. {_candidates(run)}')
    return found


def _candidates(run: DryRun, limit: int = 12) -> str:
    """Patterns of the modules whose input is a feature map, short ones
    first."""
    patterns = {
        re.sub(r'\d+', '*', name): None
        for name, shape in run.shapes.items()
        if shape[1:] != (3, *run.img_size) and _is_map(shape, run.img_size)
    }
    patterns = sorted(patterns, key=lambda pattern: pattern.count('.'))
    return ('Modules called with a feature map, as far as can be told: '
            f'{", ".join(patterns[:limit]) or "none"}.')


def _is_map(shape: Shape, img_size: Size) -> bool:
    try:
        return find_layout(shape, img_size).kind != 'NC'
    except ValueError:
        return False


def _prefix_tokens(image: nn.Module) -> Optional[int]:
    """What timm and mmpretrain name so."""
    for name in ('num_prefix_tokens', 'num_extra_tokens'):
        if isinstance(getattr(image, name, None), int):
            return getattr(image, name)
    return None


def _note_shape(shapes: Dict[str, Shape], name: str) -> Callable:

    def note(x: Tensor) -> Tensor:
        shapes.setdefault(name, tuple(x.shape))
        return x

    def hook(_: nn.Module, args: tuple, kwargs: dict) -> None:
        map_first_tensor(note, args, kwargs)

    return hook


@contextmanager
def _evaluating(image: nn.Module) -> Iterator[None]:
    """Evaluation mode, set module by module: train() of an image model may do
    more, such as freezing stages."""
    training = [module for module in image.modules() if module.training]
    devices = {p.get_device() for p in image.parameters() if p.is_cuda}
    for module in training:
        module.training = False
    try:
        with torch.random.fork_rng(sorted(devices)):
            yield
    finally:
        for module in training:
            module.training = True


def map_first_tensor(function: Callable[[Tensor], Tensor], args: tuple,
                     kwargs: dict) -> Tuple[tuple, dict]:
    """Apply a function to the first tensor among the arguments of a call,
    positional ones first."""
    for i, value in enumerate(args):
        if torch.is_tensor(value):
            return (*args[:i], function(value), *args[i + 1:]), kwargs
    for key, value in kwargs.items():
        if torch.is_tensor(value):
            return args, {**kwargs, key: function(value)}
    return args, kwargs
