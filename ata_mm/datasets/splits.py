# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Split own videos into training and validation, and write lists of them."""

import os.path as osp
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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


class Split(NamedTuple):
    """Videos, split into training and validation.

    Args:
        videos (list[OwnVideo]): Videos with their split.
        recordings (int): Recordings of several clips that are kept whole.
        torn (list[str]): Classes whose clips are all of one recording, which
            is in both splits.
    """

    videos: list[OwnVideo]
    recordings: int = 0
    torn: Sequence[str] = ()


def split_videos(found: OwnVideos, val_share: float, seed: int) -> Split:
    """Split videos into training and validation, class by class.

    Clips of one recording, as far as their names tell, stay together, unless a
    class has no other. A split that the data state is kept.

    Args:
        found (OwnVideos): The videos.
        val_share (float): Share of the validation in each class, at least one
            video, as near as whole recordings come to it.
        seed (int): Equal seeds give equal splits of equal videos.

    Returns:
        Split: The videos with their splits.

    Raises:
        ValueError: If ``val_share`` is not between 0 and 1, or a class has no
            video in a split.
    """
    if not 0 < val_share < 1:
        raise ValueError(
            f'Expected a share of validation between 0 and 1, got {val_share}.'
        )
    split = Split(found.videos)
    if not found.is_split:
        split = _split_recordings(found, val_share, seed)
    for name in SPLITS:
        labels = {v.label for v in split.videos if v.split == name}
        empty = [c for i, c in enumerate(found.classes) if i not in labels]
        if empty:
            raise ValueError(
                f'Expected videos of each class for {name}, got none of '
                f'{", ".join(empty)}.'
            )
    return split


def write_lists(
    found: OwnVideos,
    videos: Sequence[OwnVideo],
    out: Path,
    delimiter: str | None = None,
) -> str:
    """Write ``train.txt``, ``val.txt`` and ``classes.txt``.

    Args:
        found (OwnVideos): For the names of the classes.
        videos (Sequence[OwnVideo]): Videos with a split.
        out (Path): The folder of the files.
        delimiter (str, optional): Between path and label, as the config has
            it. Defaults to None, a space if no path contains one, else another
            mark.

    Returns:
        str: The delimiter.

    Raises:
        ValueError: If paths contain the delimiter, or all that there are;
            names have a line break or are not UTF-8, or paths begin with
            white space.
    """
    odd = [repr(video.path) for video in videos if not is_utf8(video.path)]
    if odd:
        raise ValueError(
            f'Expected names of videos in UTF-8, but {len(odd)} of '
            f'{len(videos)} are not: {", ".join(odd[:3])}. Rename them.'
        )
    broken = [
        repr(name)
        for name in (*found.classes, *(video.path for video in videos))
        if '\n' in name or '\r' in name
    ]
    if broken:
        raise ValueError(
            'Expected names of videos and classes without a line break, which '
            f'ends an entry of a list, got {", ".join(broken[:3])}. Rename '
            'them.'
        )
    # Readers of lists, also those of MMAction2, strip the lines.
    bare = [repr(v.path) for v in videos if v.path != v.path.lstrip()]
    if bare:
        raise ValueError(
            'Expected paths of videos that do not begin with white space, '
            f'which a list loses, got {", ".join(bare[:3])}. Rename them.'
        )
    marks = DELIMITERS if delimiter is None else (delimiter,)
    paths = ''.join(video.path for video in videos)
    mark = next((mark for mark in marks if mark not in paths), None)
    if mark is None:
        first = next(v.path for v in videos if any(m in v.path for m in marks))
        advice = 'Rename such videos.'
        if delimiter is not None:
            advice += ' Or remove the config, to have another mark chosen.'
        raise ValueError(
            f'Expected names of videos without {" or ".join(map(repr, marks))}'
            f', which separates path and label in a list, got {first!r}. '
            f'{advice}'
        )
    for name in SPLITS:
        lines = [
            f'{video.path}{mark}{video.label}\n'
            for video in videos
            if video.split == name
        ]
        (out / f'{name}.txt').write_text(''.join(lines), encoding='utf-8')
    names = ''.join(f'{name}\n' for name in found.classes)
    (out / 'classes.txt').write_text(names, encoding='utf-8')
    return mark


def _split_recordings(found: OwnVideos, val_share: float, seed: int) -> Split:
    """Split recordings; of classes that depend on one of them, clips."""
    videos = found.videos
    units = [_recording(video.path) for video in videos]
    torn: set[int] = set()
    while True:
        chosen = _choose(videos, units, val_share, seed)
        left = {v.label for v, own in zip(videos, units) if own not in chosen}
        without = {v.label for v in videos} - left
        if without <= torn:
            break
        torn |= without
        units = [
            video.path if video.label in without else own
            for video, own in zip(videos, units)
        ]
    split = [
        video._replace(split='val' if own in chosen else 'train')
        for video, own in zip(videos, units)
    ]
    whole = sum(count > 1 for count in Counter(units).values())
    return Split(split, whole, [found.classes[i] for i in sorted(torn)])


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
) -> set[str]:
    """Choose recordings for validation, which may be all of a class."""
    by_class: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for video, own in zip(videos, recordings):
        by_class[video.label][own] += 1
    chosen: set[str] = set()
    shuffle = random.Random(seed).shuffle
    # Classes with few recordings first: they have the least choice.
    for label in sorted(by_class, key=lambda one: (len(by_class[one]), one)):
        sizes = by_class[label]
        total = sum(sizes.values())
        wanted = min(max(1, round(val_share * total)), total - 1)
        names = sorted(sizes)
        shuffle(names)
        smallest = min(sizes.values())
        taken = sum(sizes[name] for name in names if name in chosen)
        for name in names:
            size = sizes[name]
            # A large recording may be far more than what is left to choose.
            near = size == smallest or taken + size - wanted <= wanted - taken
            if taken < wanted and near and name not in chosen:
                chosen.add(name)
                taken += size
    return chosen
