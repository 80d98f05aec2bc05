# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Split own videos into training and validation, and write lists of them."""

import os.path as osp
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ata_mm.video.files import is_utf8

from .own_videos import DELIMITERS, SPLITS, OwnVideo, OwnVideos

# Clips of one recording, by what remains of the name without the clip: UCF's
# v_Archery_g01_c02, Kinetics' abcdefghijk_000010_000020, match3_clip07.
_CLIP = re.compile(
    r'^(.*_g\d+)_c\d+$'
    r'|^(.{11})_\d{6}_\d{6}$'
    r'|^(.*[^\W_].*?)[ _-]*(?:clip|part|seg|segment|shot|chunk)[ _-]?\d+$',
    re.IGNORECASE,
)


def split_videos(
    found: OwnVideos, val_share: float, seed: int
) -> tuple[list[OwnVideo], int]:
    """Split videos into training and validation, class by class.

    Clips of one recording, as far as their names tell, stay together. A split
    that the data state is kept.

    Args:
        found (OwnVideos): The videos.
        val_share (float): Share of the validation in each class, at least one
            video.
        seed (int): Equal seeds give equal splits of equal videos.

    Returns:
        tuple[list[OwnVideo], int]: The videos with their splits, and the
        number of recordings that are kept together; 0 if names do not tell.

    Raises:
        ValueError: If ``val_share`` is not between 0 and 1, or a class has no
            video in a split.
    """
    if not 0 < val_share < 1:
        raise ValueError(
            f'Expected a share of validation between 0 and 1, got {val_share}.'
        )
    videos, groups = found.videos, 0
    if not found.is_split:
        recordings = [_recording(video.path) for video in videos]
        split = _choose(videos, recordings, val_share, seed)
        groups = len(set(recordings))
        if split is None or groups == len(videos):
            recordings = [video.path for video in videos]
            split, groups = _choose(videos, recordings, val_share, seed), 0
        assert split is not None  # each class has two videos
        videos = [
            video._replace(split='val' if own in split else 'train')
            for video, own in zip(videos, recordings)
        ]
    for name in SPLITS:
        labels = {video.label for video in videos if video.split == name}
        empty = [c for i, c in enumerate(found.classes) if i not in labels]
        if empty:
            raise ValueError(
                f'Expected videos of each class for {name}, got none of '
                f'{", ".join(empty)}.'
            )
    return videos, groups


def write_lists(
    found: OwnVideos, videos: Sequence[OwnVideo], out: Path
) -> str:
    """Write ``train.txt``, ``val.txt`` and ``classes.txt``.

    Args:
        found (OwnVideos): For the names of the classes.
        videos (Sequence[OwnVideo]): Videos with a split.
        out (Path): The folder of the files.

    Returns:
        str: The delimiter of the lines, which no path contains.

    Raises:
        ValueError: If paths contain all delimiters, or are not UTF-8.
    """
    odd = [repr(video.path) for video in videos if not is_utf8(video.path)]
    if odd:
        raise ValueError(
            f'Expected names of videos in UTF-8, but {len(odd)} of '
            f'{len(videos)} are not: {", ".join(odd[:3])}. Rename them.'
        )
    paths = ''.join(video.path for video in videos)
    free = [mark for mark in DELIMITERS if mark not in paths]
    if not free:
        raise ValueError(
            f'Expected names of videos without one of {DELIMITERS}, which '
            'separates path and label in a list. Rename some.'
        )
    for name in SPLITS:
        lines = [
            f'{video.path}{free[0]}{video.label}\n'
            for video in videos
            if video.split == name
        ]
        (out / f'{name}.txt').write_text(''.join(lines), encoding='utf-8')
    names = ''.join(f'{name}\n' for name in found.classes)
    (out / 'classes.txt').write_text(names, encoding='utf-8')
    return free[0]


def _recording(path: str) -> str:
    """Return what the clips of one recording have in common."""
    stem = osp.splitext(osp.basename(path))[0]
    match = _CLIP.match(stem)
    return next(filter(None, match.groups())) if match else path


def _choose(
    videos: Sequence[OwnVideo],
    recordings: Sequence[str],
    val_share: float,
    seed: int,
) -> set[str] | None:
    """Choose recordings for validation; None if a class has just one."""
    by_class: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for video, own in zip(videos, recordings):
        by_class[video.label][own] += 1
    chosen: set[str] = set()
    shuffle = random.Random(seed).shuffle
    # Classes with few recordings first: they have the least choice.
    for label in sorted(by_class, key=lambda one: (len(by_class[one]), one)):
        sizes = by_class[label]
        wanted = max(1, round(val_share * sum(sizes.values())))
        names = sorted(sizes)
        shuffle(names)
        taken = sum(sizes[name] for name in names if name in chosen)
        for name in names:
            if taken < wanted and name not in chosen:
                chosen.add(name)
                taken += sizes[name]
    whole = [sizes for sizes in by_class.values() if chosen.issuperset(sizes)]
    return None if whole else chosen
