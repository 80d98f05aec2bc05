# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Annotation files: text files with one sample per line.

At an invalid line, MMAction2 stops with an error that names neither the file
nor the line; a label out of range or a missing video is noticed only when
training reaches it. Here all faults are collected, as errors to raise or show.
"""

import os
import os.path as osp
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from mmengine.fileio import list_from_file

from ata_mm.video.pipeline import with_suffix


class AnnotationFile(NamedTuple):
    """Text file with a path and its label on each line.

    Args:
        ann_file (str): The file.
        data_prefix (str): Folder that the paths are relative to. Defaults to
            ''.
        delimiter (str, optional): Separator of the fields of a line; None
            means any white space. Defaults to ``' '``.
        fields (Sequence[str]): Names of the fields before the label: first
            the path; the others are integers. Defaults to ``('path',)``.
        labelled (bool): Whether the lines must have labels; either all have
            one or none. Defaults to True.
        multi_label (bool): Whether a line has any number of labels, also
            none. Defaults to False, one label.
        filename_tmpl (str, optional): Template of the frame names in a folder,
            such as ``'img_{:05}.jpg'``. Defaults to None: paths are videos,
            or folders whose frames are not checked.
        start_index (int): Number of the first frame there. Defaults to 1.
    """

    ann_file: str
    data_prefix: str = ''
    delimiter: str | None = ' '
    fields: Sequence[str] = ('path',)
    labelled: bool = True
    multi_label: bool = False
    filename_tmpl: str | None = None
    start_index: int = 1


class Sample(NamedTuple):
    """Valid line of an annotation file.

    Args:
        file (AnnotationFile): The file.
        line (int): Number of the line, from 1.
        text (str): The line.
        path (str): The path, ``data_prefix`` included.
        numbers (dict[str, int]): The other fields but the labels, by name.
        labels (tuple[int, ...]): The labels; empty on a line without.
    """

    file: AnnotationFile
    line: int
    text: str
    path: str
    numbers: dict[str, int]
    labels: tuple[int, ...] = ()

    @property
    def location(self) -> str:
        """File, number and text of the line, for messages."""
        return _location(self.file, self.line, self.text)

    @property
    def file_path(self) -> str:
        """Path of the file or folder to read.

        That of a video without a suffix may have '.mp4', see
        :func:`~ata_mm.video.pipeline.with_suffix`.
        """
        if self.is_video:
            return with_suffix(self.path, is_local='://' not in self.path)
        return self.path

    @property
    def is_video(self) -> bool:
        """Whether the path is a video, and not a folder of frames."""
        return 'total_frames' not in self.numbers


def read_samples(
    file: AnnotationFile,
) -> tuple[list[Sample], list[ValueError]]:
    """Read the lines of an annotation file.

    Args:
        file (AnnotationFile): The file.

    Returns:
        tuple[list[Sample], list[ValueError]]: The lines that can be read, and
        the faults: lines that cannot, and lines without a label among others
        with one.

    Raises:
        FileNotFoundError: If the file does not exist. Remote files
            (``scheme://…``) are not checked.
        ValueError: If it is empty, not UTF-8, or begins with a byte order
            mark.
    """
    if '://' not in file.ann_file and not osp.isfile(file.ann_file):
        raise FileNotFoundError(
            f'Expected an annotation file, but {file.ann_file} does not '
            'exist. Check ann_file and data_root in the config.'
        )
    lines = [line.strip() for line in read_lines(file.ann_file)]
    if not any(lines):
        raise ValueError(
            f'Expected lines of {", ".join(file.fields)}, label, but '
            f'{file.ann_file} is empty.'
        )
    if lines[0].startswith('\ufeff'):
        # MMAction2 would take it for the first character of a path.
        raise ValueError(
            f'Expected UTF-8 text without a byte order mark (BOM), but '
            f'{file.ann_file} begins with one. Save it as UTF-8 without BOM.'
        )
    samples, faults = [], []
    for number, text in enumerate(lines, 1):
        try:
            samples.append(_parse(file, number, text))
        except ValueError as error:
            faults.append(error)
    if not file.multi_label and any(sample.labels for sample in samples):
        # MMAction2 would count each as a wrong prediction.
        faults += [
            ValueError(
                f'{sample.location}: Expected a label, as on other lines, got '
                'none. Add it, or remove the line.'
            )
            for sample in samples
            if not sample.labels
        ]
    return samples, faults


def read_lines(path: str) -> list[str]:
    """Return the lines of a text file.

    Args:
        path (str): The file, as mmengine's file backends take it.

    Raises:
        ValueError: If it is not UTF-8.
    """
    try:
        return list_from_file(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f'Expected UTF-8 text, but {path} is not UTF-8 ({error}). Convert '
            'the file.'
        ) from error


def label_faults(
    samples: Sequence[Sample], num_classes: int
) -> list[ValueError]:
    """Find labels out of range.

    Args:
        samples (Sequence[Sample]): Lines of one file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.

    Returns:
        list[ValueError]: One for each such label.
    """
    labelled = [
        (sample, label) for sample in samples for label in sample.labels
    ]
    lowest = min((label for _, label in labelled), default=0)
    faults = []
    for sample, label in labelled:
        if not 0 <= label < num_classes:
            hint = f'set num_classes in cls_head above {label}'
            if label < 0:
                hint = 'remove the line'
            elif lowest == 1 and label == num_classes:
                hint = 'subtract 1 from every label, they count from 1 here'
            faults.append(
                ValueError(
                    f'{sample.location}: Expected a label in '
                    f'0..{num_classes - 1}, got {label}. Correct it, or '
                    f'{hint}.'
                )
            )
    return faults


def expected_path(sample: Sample) -> str:
    """Return what is expected at the path of a sample, for messages."""
    return 'a video file' if sample.is_video else 'a folder of frames'


def missing_files(samples: Sequence[Sample]) -> list[Sample]:
    """Find lines whose file or folder does not exist.

    Args:
        samples (Sequence[Sample]): Lines of one file. Remote paths
            (``scheme://…``) are not checked.

    Returns:
        list[Sample]: Those whose video is not a file, or whose frames are not
        in a folder.
    """
    # Listing each folder once is much faster than a look-up for each file.
    listed: dict[tuple[str, bool], set[str]] = {}
    missing = []
    for sample in samples:
        if '://' in sample.path:
            continue
        folder, name = osp.split(sample.file_path)
        key = (folder, sample.is_video)
        if key not in listed:
            listed[key] = _names(*key)
        if name not in listed[key]:
            missing.append(sample)
    return missing


def _names(folder: str, files: bool) -> set[str]:
    """Return the names of the files in a folder, or of its folders."""
    try:
        with os.scandir(folder or '.') as entries:
            # A broken link is neither. What is no regular file exists: reading
            # it is another check.
            return {
                entry.name
                for entry in entries
                if entry.is_dir() != files
                and not (entry.is_symlink() and not osp.exists(entry.path))
            }
    except PermissionError:
        raise
    except OSError:  # there is none, or its name is too long for one
        return set()


def clean_path(path: str) -> str:
    """Normalise a path without ``..``, which may follow a link."""
    if '://' in path or '..' in path.split(os.sep):
        return path
    return osp.normpath(path)


def _location(file: AnnotationFile, line: int, text: str) -> str:
    return f'{file.ann_file}, line {line}: {text!r}'


def _parse(file: AnnotationFile, line: int, text: str) -> Sample:
    """Parse a line, or raise a ValueError that names it."""
    path, *words = text.split(file.delimiter) or ['']
    names = file.fields[1:]
    number = len(words) - len(names)
    allowed = number >= 0 if file.multi_label else number == 1
    if not path or not (allowed or (number == 0 and not file.labelled)):
        _raise_number(file, line, text, 1 + len(words))
    labels = ('label',) * number
    values = []
    for name, word in zip((*names, *labels), words):
        # int() would also take 1_0 for 10.
        if not re.fullmatch(r'\s*-?[0-9]+\s*', word):
            raise ValueError(
                f'{_location(file, line, text)}: Expected {name} to be an '
                f'integer, got {word!r}.'
            )
        values.append(int(word))
    path = clean_path(osp.join(file.data_prefix, path))
    numbers = dict(zip(names, values))
    return Sample(file, line, text, path, numbers, (*values[len(names) :],))


def _raise_number(
    file: AnnotationFile, line: int, text: str, number: int
) -> NoReturn:
    """Raise for a wrong number of fields."""
    separator = (
        'white space' if file.delimiter is None else repr(file.delimiter)
    )
    expected = f'{len(file.fields) + 1} fields'
    label = 'label'
    if file.multi_label:
        expected, label = f'{len(file.fields)} fields or more', 'labels'
    raise ValueError(
        f'{_location(file, line, text)}: Expected {expected} '
        f'({", ".join((*file.fields, label))}) separated by {separator}, got '
        f'{number}. For paths with spaces, write the file with another '
        'delimiter and set it in the dataset of the config, such as '
        "delimiter=','. Several labels need multi_class=True there."
    )
