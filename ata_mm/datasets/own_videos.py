# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Own videos and their classes: folders, CSV files and lists."""

import csv
import io
import os
import os.path as osp
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ata_mm.video.files import SUFFIXES, walk_videos

from .annotations import (
    AnnotationFile,
    clean_path,
    read_lines,
    read_samples,
)

SPLITS = ('train', 'val')
TABLES = ('.csv', '.tsv')
_SPLIT_NAMES = dict(
    train='train', training='train', val='val', valid='val', validation='val'
)
_TEST_NAMES = ('test', 'testing')
_PATH_COLUMNS = ('path', 'video', 'file', 'filename', 'name', 'clip')
_LABEL_COLUMNS = ('label', 'class', 'category', 'action', 'target')
_SPLIT_COLUMNS = ('split', 'subset', 'set')
DELIMITERS = (' ', ',', ';', '|', '\t')
# Folders that Python and the tools write where they are called.
_WRITTEN = ('__pycache__', 'work_dirs')


class OwnVideo(NamedTuple):
    """A video and its class.

    Args:
        path (str): Relative to the root of the videos, or absolute.
        label (int): Index of the class.
        split (str, optional): 'train' or 'val', if the data say so.
    """

    path: str
    label: int
    split: str | None = None


class OwnVideos(NamedTuple):
    """All videos of a data set.

    Args:
        root (str): Absolute folder that the paths are relative to.
        classes (list[str]): Name of each class.
        videos (list[OwnVideo]): The videos.
    """

    root: str
    classes: list[str]
    videos: list[OwnVideo]

    @property
    def is_split(self) -> bool:
        """Whether the data themselves say which videos are for validation."""
        return all(video.split for video in self.videos)


def read_own_videos(
    data: Sequence[str], work_dir: Path | None = None
) -> OwnVideos:
    """Find videos and classes.

    Args:
        data (Sequence[str]): One of

            - a folder with a folder of videos for each class, or with the
              folders ``train`` and ``val`` of these;
            - a CSV file with a header: the columns ``path`` and ``label``,
              optionally ``split``;
            - a list file of MMAction2, lines of path and label, or two of
              them, for training and validation. The delimiter is what stands
              before the label of the first line. The names of the classes are
              in ``classes.txt`` beside it, if that exists.

            Paths in files are relative to the folder of the file.
        work_dir (Path, optional): Folder of results. In a folder of classes,
            it holds no data, nor do folders named ``work_dirs``. Defaults to
            None, none.

    Returns:
        OwnVideos: The videos, which exist, sorted.

    Raises:
        FileNotFoundError: If data or listed videos do not exist.
        ValueError: If there are no classes, a class has no videos or just
            one, a video has two labels or splits, or a file is not in one of
            these formats.
    """
    for path in data:
        if not osp.exists(path):
            raise FileNotFoundError(
                f'Expected a folder of class folders, a CSV or list files, '
                f'but {path} does not exist.'
            )
        if osp.isfile(path) and path.lower().endswith(SUFFIXES):
            raise ValueError(
                'Expected a folder of class folders, a CSV or list files, got '
                f'the video {path}. Pass the folder of the class folders.'
            )
    if len(data) == 1 and osp.isdir(data[0]):
        found = _read_folder(Path(data[0]), work_dir)
    elif len(data) == 1 and data[0].lower().endswith(TABLES):
        found = _read_csv(Path(data[0]))
    elif len(data) <= 2 and not any(map(osp.isdir, data)):
        found = _read_lists(data)
    else:
        raise ValueError(
            'Expected one folder of class folders, one CSV, or one or two '
            f'list files, got {", ".join(data)}.'
        )
    _check_files(found, data[0])
    _check_contradictions(found, data[0])
    found = _without_repetitions(found, data[0])
    _check_classes(found, data[0])
    return found


def _read_folder(root: Path, work_dir: Path | None) -> OwnVideos:
    work_dir = work_dir.resolve() if work_dir else None
    if work_dir and root.resolve() not in work_dir.parents:
        work_dir = None  # may contain the data
    folders = _folders(root, work_dir)
    _check_splits(root, [folder.name for folder in folders])
    splits = {_SPLIT_NAMES.get(f.name.lower()): f for f in folders}
    parts: list[tuple[Path, str | None]]
    if set(splits) == set(SPLITS):
        parts = [
            (folder, name)
            for name in SPLITS
            for folder in _folders(splits[name], work_dir)
        ]
    else:
        parts = [(folder, None) for folder in folders]
    classes = sorted({folder.name for folder, _ in parts})
    videos, empty = [], []
    for folder, split in parts:
        files = _videos(folder, work_dir)
        label = classes.index(folder.name)
        videos += [
            OwnVideo(str(file.relative_to(root)), label, split)
            for file in files
        ]
        empty += [] if files else [str(folder.relative_to(root))]
    if not videos:
        raise ValueError(
            f'Expected a folder of videos ({", ".join(SUFFIXES)}) for each '
            f'class in {root}, got {len(parts)} folders without any. Sort the '
            'videos into a folder per class, or pass a CSV of path and label.'
        )
    if empty:
        raise ValueError(
            f'Expected videos in each class folder of {root}, got none in '
            f'{", ".join(empty)}. Remove the folder, or add videos.'
        )
    return OwnVideos(str(root.resolve()), classes, videos)


def _check_splits(root: Path, names: Sequence[str]) -> None:
    """Raise if folders are splits, but not one to train and one to validate.

    They would be taken for classes, as would others beside these two.
    """
    lower = [name.lower() for name in names]
    splits = [_SPLIT_NAMES.get(name, 'other') for name in lower]
    are_splits = {*_SPLIT_NAMES, *_TEST_NAMES}.issuperset(lower)
    have_both = {*SPLITS}.issubset(splits)
    if names and (are_splits or have_both) and sorted(splits) != [*SPLITS]:
        raise ValueError(
            f'Expected the folders train and val in {root}, got '
            f'{", ".join(names)}. Rename or move the others; videos to test '
            'may take the place of val.'
        )


def _folders(root: Path, work_dir: Path | None) -> list[Path]:
    """Find the folders of classes or splits, without those of results."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir()
        and not path.name.startswith('.')
        and path.name not in _WRITTEN
        and not _has_results_alone(path, work_dir)
    )


def _has_results_alone(folder: Path, work_dir: Path | None) -> bool:
    holds = work_dir and work_dir.is_relative_to(folder.resolve())
    return bool(holds) and not _videos(folder, work_dir)


def _videos(folder: Path, work_dir: Path | None) -> list[Path]:
    """Find the videos of a folder, without those of results."""
    return sorted(
        video
        for video in walk_videos(str(folder))
        if not {*_WRITTEN}.intersection(video.relative_to(folder).parts)
        and not (work_dir and work_dir in video.resolve().parents)
    )


def _read_csv(path: Path) -> OwnVideos:
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'Expected UTF-8 text, but {path} is not UTF-8 ({error}). Save it '
            'as "CSV UTF-8".'
        ) from error
    head = text.split('\n', 1)[0]
    mark = max(',;\t', key=head.count)
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=mark)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(
            f'Expected a CSV, but {path} cannot be read at line '
            f'{reader.line_num}: {error}. Close every double quote.'
        ) from error
    titles = [title.strip().lower() for title in rows[0][1]] if rows else []
    places = [
        next((titles.index(name) for name in names if name in titles), None)
        for names in (_PATH_COLUMNS, _LABEL_COLUMNS, _SPLIT_COLUMNS)
    ]
    if places[0] is None or places[1] is None:
        raise ValueError(
            f'Expected a header with the columns path and label in {path}, '
            f'got {head!r}.'
        )
    entries = []
    for number, row in rows[1:]:
        if not any(row):
            continue
        if len(row) < len(titles) or ''.join(row[len(titles) :]).strip():
            raise ValueError(
                f'Expected {len(titles)} columns in {path}, line {number}, '
                f'got {len(row)}: {row}. Put text that contains {mark!r} in '
                'double quotes.'
            )
        stated = '' if places[2] is None else row[places[2]].strip()
        split = _SPLIT_NAMES.get(stated.lower())
        if stated and split is None:
            raise ValueError(
                f'Expected train or val as split in {path}, line {number}, '
                f'got {stated!r}.'
            )
        path_and_label = row[places[0]].strip(), row[places[1]].strip()
        if not all(path_and_label):
            raise ValueError(
                f'Expected a path and a label in {path}, line {number}, got '
                f'{row}.'
            )
        entries.append((*path_and_label, split))
    if len({split is None for _, _, split in entries}) > 1:
        raise ValueError(
            f'Expected a split in every line of {path}, or in none.'
        )
    return _labelled(path, entries)


def _labelled(
    path: Path, entries: Sequence[tuple[str, str, str | None]]
) -> OwnVideos:
    """Replace the names of classes by numbers."""
    classes = sorted({name for _, name, _ in entries})
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)
    root = str(path.parent.resolve())
    videos = [
        OwnVideo(
            _relative(clean_path(osp.join(root, video)), root),
            classes.index(name),
            split,
        )
        for video, name, split in entries
    ]
    return OwnVideos(root, classes, videos)


def _read_lists(data: Sequence[str]) -> OwnVideos:
    videos = []
    root = osp.dirname(osp.abspath(data[0]))
    splits = SPLITS if len(data) == len(SPLITS) else (None,)
    for path, split in zip(data, splits):
        folder = osp.dirname(osp.abspath(path))
        file = AnnotationFile(path, folder, _delimiter(path))
        samples, faults = read_samples(file)
        for fault in faults:
            raise fault
        videos += [
            OwnVideo(_relative(s.file_path, root), s.labels[0], split)
            for s in samples
        ]
    names = Path(root, 'classes.txt')
    labels = [video.label for video in videos]
    lowest, number = min(labels), 1 + max(labels)
    classes = None
    if names.is_file():
        lines = read_lines(str(names))
        classes = [line.removeprefix('\ufeff').strip() for line in lines]
        classes = [name for name in classes if name]
    known = number if classes is None else len(classes)
    if lowest or number > known:
        raise ValueError(
            f'Expected labels in 0..{known - 1} in {data[0]}, got '
            f'{lowest}..{number - 1}. Count from 0, and name every class in '
            f'{names} or remove that file.'
        )
    if classes is None:
        if number > len(videos):  # may be any, by mistake
            wrong = videos[labels.index(number - 1)]
            raise ValueError(
                f'Expected labels in 0..{len(videos) - 1} in {data[0]}, which '
                f'has {len(videos)} videos, got {wrong.label} for '
                f'{wrong.path}. Correct it.'
            )
        classes = [f'class {i}' for i in range(number)]
    return OwnVideos(root, classes, videos)


def _delimiter(path: str) -> str:
    """Return the delimiter before the last field of the first line."""
    line = next(iter(read_lines(path)), '').strip()
    found = re.search(r'([,;|\t]) *[^ ,;|\t]*$', line)
    return found[1] if found else ' '


def _relative(path: str, root: str) -> str:
    """Return a path relative to a folder, or as it is if it may leave it."""
    return path if '..' in path.split(os.sep) else osp.relpath(path, root)


def _check_files(found: OwnVideos, data: str) -> None:
    missing = [
        video.path
        for video in found.videos
        if not osp.isfile(osp.join(found.root, video.path))
    ]
    if missing:
        raise FileNotFoundError(
            f'Expected videos at the paths in {data}, relative to '
            f'{found.root}, but {len(missing)} of {len(found.videos)} do not '
            f'exist as files: {", ".join(missing[:3])}. Correct or remove '
            'these paths or links.'
        )


def _check_contradictions(found: OwnVideos, data: str) -> None:
    first: dict[str, OwnVideo] = {}
    twice = dict.fromkeys(
        video.path
        for video in found.videos
        if first.setdefault(video.path, video) != video
    )
    if twice:
        raise ValueError(
            f'Expected one label and one split for each video in {data}, got '
            f'several for {", ".join(list(twice)[:3])}. Remove lines.'
        )


def _without_repetitions(found: OwnVideos, data: str) -> OwnVideos:
    videos = list(dict.fromkeys(found.videos))
    repeated = len(found.videos) - len(videos)
    if repeated:
        warnings.warn(
            f'{repeated} lines of {data} repeat a video, which counts once.',
            stacklevel=3,
        )
    return found._replace(videos=videos)


def _check_classes(found: OwnVideos, data: str) -> None:
    counts = [0] * len(found.classes)
    for video in found.videos:
        counts[video.label] += 1
    if len(found.classes) < 2:
        raise ValueError(
            f'Expected two classes or more in {data}, got '
            f'{", ".join(found.classes) or "none"}.'
        )
    few = [
        f'{name} ({number})'
        for name, number in zip(found.classes, counts)
        if number < 2
    ]
    if few:
        more = f' and {len(few) - 10} more' if len(few) > 10 else ''
        raise ValueError(
            'Expected two videos or more of each class, to train and to '
            f'validate, got fewer of {", ".join(few[:10])}{more}. Add videos, '
            'or leave the class out.'
        )
