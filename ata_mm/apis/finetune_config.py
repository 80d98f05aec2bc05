# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Write the config of a training on own classes, for people to edit."""

import os
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

from ata_mm.datasets.checks import LOADERS
from ata_mm.datasets.own_videos import SPLITS, OwnVideos
from ata_mm.datasets.splits import Split

from .backbone_choice import Choice

_SIZE, _FRAMES = 224, 8  # of _base_/datasets/own_videos_8f.py
# Classes that a mirrored video changes.
_SIDED = re.compile(r'left|right|clockwise|links|rechts', re.IGNORECASE)


class Plan(NamedTuple):
    """What the config of a training states.

    Args:
        command (str): The command that it was written by.
        choice (Choice): The settings of the model.
        found (OwnVideos): The classes and the root of the videos.
        split (Split): The videos, split.
        folder (Path): Folder of the lists.
        delimiter (str): Separator of path and label in them.
        num_frames (int): Frames per clip.
        batch_size (int): Clips per step.
        epochs (int): Epochs of the training.
        seed (int): Seed of the split and the training.
    """

    command: str
    choice: Choice
    found: OwnVideos
    split: Split
    folder: Path
    delimiter: str
    num_frames: int
    batch_size: int
    epochs: int
    seed: int


def write_config(plan: Plan) -> str:
    """Return the text of the config.

    Args:
        plan (Plan): What it states.

    Returns:
        str: Python of mmengine's config format, with the reasons of the
        automatic choices in comments.
    """
    choice = plan.choice
    schedule = 'adamw_finetune' if choice.pretrained else 'adamw_from_scratch'
    bases = [
        *(f'models/{base}' for base in choice.bases),
        'datasets/own_videos_8f',
        f'schedules/{schedule}',
        'default_runtime',
    ]
    names = ''.join(f"    'ata_mm::_base_/{base}.py',\n" for base in bases)
    parts = [
        f'# {plan.command}\n'
        '# Written once and yours to edit: the same command uses it as it is, '
        'and resumes.\n'
        f'_base_ = [\n{names}]',
        f'# {choice.name}\n{_code("model", choice.model, choice.comments)}',
        _data(plan),
        f'train_cfg = dict(max_epochs={plan.epochs}, val_begin=1, '
        'val_interval=1)\n'
        f'randomness = dict(seed={plan.seed})',
    ]
    return '\n\n'.join(parts) + '\n'


def _data(plan: Plan) -> str:
    """Return the part of the config about data."""
    number = {
        name: sum(video.split == name for video in plan.split.videos)
        for name in SPLITS
    }
    split = f'split by seed {plan.seed}, class by class'
    if plan.split.recordings:
        split += f', {plan.split.recordings} recordings kept whole'
    if plan.split.torn:
        split += (
            f', but both splits have clips of the only recording of '
            f'{", ".join(plan.split.torn)}'
        )
    if plan.found.is_split:
        split = 'split as in the data'
    lines = textwrap.wrap(
        f'{len(plan.found.classes)} classes, {number["train"]} videos to '
        f'train and {number["val"]} to validate and test; {split}.',
        width=79,
        initial_indent='# ',
        subsequent_indent='# ',
    )
    lines += _pipelines(plan)
    workers = min(8, len(os.sched_getaffinity(0)))
    common: dict[str, Any] = dict(
        data_prefix=dict(video=plan.found.root),
        metainfo=dict(classes=str(plan.folder / 'classes.txt')),
    )
    if plan.delimiter != ' ':
        common['delimiter'] = plan.delimiter
    lines.append(_code('videos', common))
    for loader in LOADERS:
        file = 'train.txt' if loader == 'train' else 'val.txt'
        lines.append(
            f'{loader}_dataloader = dict(\n'
            f'    batch_size={plan.batch_size},\n'
            f'    num_workers={workers},\n'
            '    dataset=dict(\n'
            f'        ann_file={str(plan.folder / file)!r},\n'
            f'        pipeline={loader}_pipeline,\n'
            '        **videos,\n'
            '    ),\n'
            ')'
        )
    return '\n'.join(lines)


def _pipelines(plan: Plan) -> list[str]:
    """Return the lines that adapt the pipelines of the base."""
    size = plan.choice.size
    lines = [f'{name}_pipeline = _base_.{name}_pipeline' for name in LOADERS]
    if plan.num_frames != _FRAMES:
        lines += [
            f'{name}_pipeline[1].update(clip_len={plan.num_frames})'
            for name in LOADERS
        ]
    if size != _SIZE:
        short, long = round(size * 8 / 7), round(size * 10 / 7)
        lines += [
            f'train_pipeline[3].update(scale_range=({short}, {long}))',
            f'train_pipeline[4].update(size={size})',
            f'val_pipeline[3].update(scale=(-1, {short}))',
            f'val_pipeline[4].update(crop_size={size})',
            f'test_pipeline[3].update(scale=(-1, {size}))',
            f'test_pipeline[4].update(crop_size={size})',
        ]
    sided = [name for name in plan.found.classes if _SIDED.search(name)]
    if sided:
        lines += [
            f'# A mirrored {sided[0]!r} is another class.',
            'train_pipeline[5].update(flip_ratio=0.0)',
        ]
    return lines


def _code(
    name: str, value: dict, comments: dict[str, str] | None = None
) -> str:
    """Return an assignment, with comments above the keys that they explain."""
    return f'{name} = {_value(value, (), comments or {})}'


def _value(value: Any, place: tuple[str, ...], comments: dict) -> str:
    """Return a value, dictionaries with a line for each key."""
    if not isinstance(value, dict):
        return repr(value)
    indent = ' ' * 4 * (len(place) + 1)
    rows = []
    for key, inner in value.items():
        inside = (*place, key)
        comment = comments.get('.'.join(inside))
        if comment:
            first = f'{indent}# '
            text = f'{comment[0].upper()}{comment[1:]}.'
            rows += textwrap.wrap(
                text, 79, initial_indent=first, subsequent_indent=first
            )
        rows.append(f'{indent}{key}={_value(inner, inside, comments)},')
    if len(rows) == 1:
        return f'dict({rows[0].strip()[:-1]})'
    return '\n'.join(['dict(', *rows, f'{indent[4:]})'])
