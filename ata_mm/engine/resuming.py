# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Find the checkpoint that a training is resumed from."""

import glob
import os.path as osp
import zipfile
from typing import NamedTuple

import torch
from mmengine.dist import broadcast_object_list, is_main_process

from ata_mm.compat.checkpoint_files import naming

from .errors import ResumeError

# Weights without an optimizer, and states from before a divergence.
_NOT_RESUMED = ('best_', 'diverged_')


class ResumePoint(NamedTuple):
    """Checkpoint to resume from.

    Attributes:
        path (str): The file or URL.
        iter (int): Number of iterations done.
        seed (int | None): Seed of the run; None if the file does not tell.
        skipped (str): Newer checkpoints and why they were passed over.
        saved (str): Time at which it was saved, as text in order of time.
    """

    path: str
    iter: int = 0
    seed: int | None = None
    skipped: str = ''
    saved: str = ''


def find_resume_point(
    work_dir: str, path: str | None = None
) -> ResumePoint | None:
    """Find the checkpoint to resume from, the same one in all processes.

    Args:
        work_dir (str): Work directory of the run.
        path (str, optional): A checkpoint. Defaults to None, the newest
            readable one of the work directory, see :func:`newest`.

    Returns:
        ResumePoint | None: The checkpoint; None if the work directory has
        none.

    Raises:
        ResumeError: If ``path`` is not a checkpoint of a training, or none of
            the checkpoints in the work directory is.
    """
    result: list = [None, None]
    if is_main_process():
        try:
            result[0] = newest(work_dir) if path is None else read(path)
        except ResumeError as error:
            result[1] = str(error)
    broadcast_object_list(result)
    point, message = result
    if message:
        raise ResumeError(message)
    return point


def newest(work_dir: str) -> ResumePoint | None:
    """Return the readable checkpoint of a folder that was saved last.

    By the time in the checkpoint, which a copy of the file keeps: the folder
    may also have checkpoints of an earlier run, of more iterations.

    The folder given counts, not the path in its ``last_checkpoint``, so that
    it can be moved; only if it has no checkpoint, as with ``out_dir`` of
    ``CheckpointHook``, that file's own folder is searched.

    Args:
        work_dir (str): Work directory of the run.

    Returns:
        ResumePoint | None: The checkpoint; None if there is none, readable or
        not.

    Raises:
        ResumeError: If there are checkpoints, but none to resume from.
    """
    paths = checkpoints_in(work_dir)
    if not paths:
        last = last_checkpoint(work_dir)
        if '://' in last:  # storage that cannot be listed
            return ResumePoint(last)
        paths = checkpoints_in(osp.dirname(last)) if last else []
    points, skipped = [], []
    for path in paths:
        try:
            points.append(_read_structure(path))
        except ResumeError as error:
            skipped.append(str(error))
    points.sort(key=lambda point: (point.saved, point.iter), reverse=True)
    for point in points:
        damage = _damage(point.path)
        if damage is None:
            return point._replace(skipped=' '.join(skipped))
        skipped.append(damage)
    if not paths:
        return None
    raise ResumeError(
        'Expected a checkpoint to resume from, got none that can be resumed: '
        + ' '.join(skipped)
    )


def read(path: str) -> ResumePoint:
    """Read position and seed of a checkpoint.

    Args:
        path (str): A file or URL.

    Returns:
        ResumePoint: The checkpoint; of a URL the path alone.

    Raises:
        ResumeError: If the file is damaged, or not a checkpoint of a training.
    """
    if '://' in path:
        return ResumePoint(path)
    point = _read_structure(osp.expanduser(path))
    damage = _damage(point.path)
    if damage is not None:
        raise ResumeError(damage)
    return point


def checkpoints_in(folder: str) -> list[str]:
    """Return the checkpoints of a folder; the best only without others.

    Args:
        folder (str): Work directory of a run.

    Returns:
        list[str]: Paths, sorted; readable or not.
    """
    # With filename_tmpl of CheckpointHook, they have any suffix, or none.
    last = osp.basename(last_checkpoint(folder))
    patterns = (
        '*.pth',
        f'*{osp.splitext(last)[1] or ".pth"}',
        glob.escape(last),
    )
    names = {
        path
        for pattern in patterns
        for path in glob.glob(osp.join(glob.escape(folder), pattern))
        if osp.isfile(path)
    }
    return sorted(
        path
        for path in names
        if not osp.basename(path).startswith(_NOT_RESUMED)
    ) or sorted(p for p in names if osp.basename(p).startswith('best_'))


def last_checkpoint(work_dir: str) -> str:
    """Return the checkpoint that a training has saved last.

    Args:
        work_dir (str): Its work directory, which may have been moved.

    Returns:
        str: A file or URL; '' if there is none.
    """
    try:
        with open(osp.join(work_dir, 'last_checkpoint')) as file:
            path = file.read().strip()
    except FileNotFoundError:
        return ''
    moved = osp.join(work_dir, osp.basename(path))
    return moved if osp.isfile(moved) else path


def _read_structure(path: str) -> ResumePoint:
    """Read a checkpoint without its tensors."""
    try:
        with naming(path):
            checkpoint = torch.load(
                path,
                map_location='cpu',
                mmap=zipfile.is_zipfile(path),
                weights_only=True,
            )
    except (ValueError, OSError) as error:
        raise ResumeError(str(error)) from error
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or not (
        {'epoch', 'iter'} <= meta.keys()
        and {'optimizer', 'message_hub'} <= checkpoint.keys()
    ):
        raise ResumeError(
            f'{path} has no state of an optimizer to resume from. To start a '
            'new training from its weights, use '
            f'--cfg-options load_from={path} without --resume.'
        )
    saved = meta.get('time', '')
    return ResumePoint(path, meta['iter'], meta.get('seed'), saved=saved)


def _damage(path: str) -> str | None:
    """Compare the checksums of a checkpoint, which torch.load does not."""
    if not zipfile.is_zipfile(path):  # torch's format before 1.6
        return None
    with zipfile.ZipFile(path) as archive:
        try:
            broken = archive.testzip()
        except (zipfile.BadZipFile, OSError) as error:
            broken = str(error)
    return f'{path} is damaged (at {broken}).' if broken else None
