# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Annotation files: text files with one sample per line.

At an invalid line, MMAction2 stops with an error that names neither the file
nor the line; a label out of range or a missing video is noticed only when
training reaches it. Here all faults are collected, as errors to raise or show.
"""

import os
import os.path as osp
from typing import Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from mmengine.fileio import list_from_file


class AnnotationFile(NamedTuple):
    """Text file with a path and its label on each line.

    Args:
        ann_file (str): The file.
        data_prefix (str): Folder that the paths are relative to. Defaults to
            ''.
        delimiter (str, optional): Separator of the fields of a line; None
            means any white space. Defaults to ``' '``.
        fields (Sequence[str]): Names of the fields: first the path, last the
            label; all but the path are integers. Defaults to
            ``('path', 'label')``.
        labelled (bool): Whether every line must have its label.
            Defaults to True.
        filename_tmpl (str, optional): Template of the frame names in a folder,
            such as ``'img_{:05}.jpg'``. Defaults to None: paths are videos,
            or folders whose frames are not checked.
        start_index (int): Number of the first frame there. Defaults to 1.
    """

    ann_file: str
    data_prefix: str = ''
    delimiter: Optional[str] = ' '
    fields: Sequence[str] = ('path', 'label')
    labelled: bool = True
    filename_tmpl: Optional[str] = None
    start_index: int = 1


class Sample(NamedTuple):
    """Valid line of an annotation file.

    Args:
        file (AnnotationFile): The file.
        line (int): Number of the line, from 1.
        text (str): The line.
        path (str): The path, ``data_prefix`` included.
        numbers (dict[str, int]): The other fields, by name.
    """

    file: AnnotationFile
    line: int
    text: str
    path: str
    numbers: Dict[str, int]

    @property
    def location(self) -> str:
        """File, number and text of the line, for messages."""
        return _location(self.file, self.line, self.text)

    @property
    def file_path(self) -> str:
        """Path of the file or folder to read.

        MMAction2 appends .mp4 to a video without a suffix.
        """
        is_video = 'total_frames' not in self.numbers
        if is_video and not osp.splitext(self.path)[1]:
            return f'{self.path}.mp4'
        return self.path

    @property
    def label(self) -> Optional[int]:
        """The label, None on a line without one."""
        return self.numbers.get('label')


def read_samples(
    file: AnnotationFile,
) -> Tuple[List[Sample], List[ValueError]]:
    """Read the lines of an annotation file.

    Args:
        file (AnnotationFile): The file.

    Returns:
        tuple[list[Sample], list[ValueError]]: The valid lines, and the faults
        of the others.

    Raises:
        FileNotFoundError: If the file does not exist. Remote files
            (``scheme://…``) are not checked.
        ValueError: If it is empty, or not UTF-8.
    """
    if '://' not in file.ann_file and not osp.isfile(file.ann_file):
        raise FileNotFoundError(
            f'Expected an annotation file, but {file.ann_file} does not '
            'exist. Check ann_file and data_root in the config.'
        )
    try:
        lines = [line.strip() for line in list_from_file(file.ann_file)]
    except UnicodeDecodeError as error:
        raise ValueError(
            f'Expected UTF-8 text, but {file.ann_file} is not UTF-8 ({error}).'
            ' Convert the file.'
        ) from error
    if not any(lines):
        raise ValueError(
            f'Expected lines of {", ".join(file.fields)}, but {file.ann_file} '
            'is empty.'
        )
    samples, faults = [], []
    for number, text in enumerate(lines, 1):
        try:
            samples.append(_parse(file, number, text))
        except ValueError as error:
            faults.append(error)
    return samples, faults


def label_faults(
    samples: Sequence[Sample], num_classes: int
) -> List[ValueError]:
    """Find labels out of range.

    Args:
        samples (Sequence[Sample]): Lines of one file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.

    Returns:
        list[ValueError]: One for each such line.
    """
    labelled = [
        (sample, sample.label)
        for sample in samples
        if sample.label is not None
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


def missing_files(samples: Sequence[Sample]) -> List[Sample]:
    """Find lines whose file or folder does not exist.

    Args:
        samples (Sequence[Sample]): Lines of one file. Remote paths
            (``scheme://…``) are not checked.

    Returns:
        list[Sample]: Those whose path does not exist.
    """
    # Listing each folder once is much faster than a look-up for each file.
    listed: Dict[str, Set[str]] = {}
    missing = []
    for sample in samples:
        if '://' in sample.path:
            continue
        folder, name = osp.split(sample.file_path)
        if folder not in listed:
            exists = osp.isdir(folder or '.')
            listed[folder] = set(os.listdir(folder or '.') if exists else ())
        if name not in listed[folder]:
            missing.append(sample)
    return missing


def _location(file: AnnotationFile, line: int, text: str) -> str:
    return f'{file.ann_file}, line {line}: {text!r}'


def _parse(file: AnnotationFile, line: int, text: str) -> Sample:
    """Parse a line, or raise a ValueError that names it."""
    path, *words = text.split(file.delimiter)
    names = file.fields[1:]
    if not file.labelled and len(words) == len(names) - 1:
        names = names[:-1]
    if not path or len(words) != len(names):
        separator = (
            'white space' if file.delimiter is None else repr(file.delimiter)
        )
        raise ValueError(
            f'{_location(file, line, text)}: Expected {len(names) + 1} fields '
            f'({", ".join((file.fields[0], *names))}) separated by '
            f'{separator}, got {len(words) + 1}. For paths with spaces, write '
            'the file with another delimiter and set it in the dataset of the '
            "config, such as delimiter=','."
        )
    numbers = {}
    for name, word in zip(names, words):
        try:
            numbers[name] = int(word)
        except ValueError:
            raise ValueError(
                f'{_location(file, line, text)}: Expected {name} to be an '
                f'integer, got {word!r}.'
            ) from None
    path = osp.join(file.data_prefix, path)
    path = path if '://' in path else osp.normpath(path)
    return Sample(file, line, text, path, numbers)
