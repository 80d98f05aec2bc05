# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read an annotation file, and find what is wrong with its lines.

At a bad line, MMAction2 stops with an error that names neither the file nor
the line; a label out of range or a missing video shows only when its turn
comes in training. Here faults are collected, as errors to be raised or shown.
"""
import os
import os.path as osp
from typing import List, NamedTuple, Optional, Sequence, Tuple

from mmengine.fileio import list_from_file


class AnnotationFile(NamedTuple):
    """A text file with a path and its label on each line.

    Args:
        ann_file (str): The file.
        data_prefix (str): Folder that the paths start from. Defaults to ''.
        delimiter (str, optional): What separates the fields of a line; None
            means any white space. Defaults to ``' '``.
        fields (Sequence[str]): What the fields are: first the path, last the
            label, all but the path integers. Defaults to
            ``('path', 'label')``.
        labelled (bool): Whether every line must have its label.
            Defaults to True.
        filename_tmpl (str, optional): How the frames in a folder are called,
            such as ``'img_{:05}.jpg'``. Defaults to None: paths are videos,
            or folders whose frames are not looked at.
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
    """A line of an annotation file that has the right fields.

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
    numbers: dict

    @property
    def place(self) -> str:
        """File, number and text of the line, for messages."""
        return _place(self.file, self.line, self.text)

    @property
    def file_path(self) -> str:
        """What is read: MMAction2 takes a video without suffix for .mp4."""
        is_video = 'total_frames' not in self.numbers
        if is_video and not osp.splitext(self.path)[1]:
            return f'{self.path}.mp4'
        return self.path

    @property
    def label(self) -> Optional[int]:
        """The label, None on a line without one."""
        return self.numbers.get('label')


def read_samples(
        file: AnnotationFile) -> Tuple[List[Sample], List[ValueError]]:
    """Read the lines of an annotation file.

    Args:
        file (AnnotationFile): The file.

    Returns:
        tuple[list[Sample], list[ValueError]]: The lines that have the right
        fields, and what is wrong with the others.

    Raises:
        FileNotFoundError: If there is no such file. Remote ones
            (``scheme://…``) are not looked for.
        ValueError: If it is empty, or not UTF-8.
    """
    if '://' not in file.ann_file and not osp.isfile(file.ann_file):
        raise FileNotFoundError(
            f'There is no annotation file {file.ann_file}. Check ann_file and '
            'data_root in the config.')
    try:
        lines = [line.strip() for line in list_from_file(file.ann_file)]
    except UnicodeDecodeError as error:
        raise ValueError(f'{file.ann_file} is not UTF-8 text ({error}). Write '
                         'it anew in that encoding.') from error
    if not any(lines):
        raise ValueError(f'{file.ann_file} is empty; expected on each line: '
                         f'{", ".join(file.fields)}.')
    samples, faults = [], []
    for number, text in enumerate(lines, 1):
        try:
            samples.append(_parse(file, number, text))
        except ValueError as error:
            faults.append(error)
    return samples, faults


def label_faults(samples: Sequence[Sample],
                 num_classes: int) -> List[ValueError]:
    """Find labels that are none of the classes.

    Args:
        samples (Sequence[Sample]): Lines of one file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.

    Returns:
        list[ValueError]: One for each such line.
    """
    labelled = [sample for sample in samples if sample.label is not None]
    lowest = min((sample.label for sample in labelled), default=0)
    faults = []
    for sample in labelled:
        if not 0 <= sample.label < num_classes:
            hint = f'set num_classes in cls_head above {sample.label}'
            if sample.label < 0:
                hint = 'remove the line'
            elif lowest == 1 and sample.label == num_classes:
                hint = 'labels count from 1 here, subtract 1 from each'
            faults.append(
                ValueError(
                    f'{sample.place}: label must be in 0..{num_classes - 1}, '
                    f'but got {sample.label}. Correct it, or {hint}.'))
    return faults


def missing_files(samples: Sequence[Sample]) -> List[Sample]:
    """Find lines whose file or folder does not exist.

    Args:
        samples (Sequence[Sample]): Lines of one file. Remote ones
            (``scheme://…``) are not looked for.

    Returns:
        list[Sample]: Those whose path does not exist.
    """
    # Listing each folder once is cheap where a look at each file is not.
    listed, missing = {}, []
    for sample in samples:
        if '://' in sample.path:
            continue
        folder, name = osp.split(sample.file_path)
        if folder not in listed:
            there = osp.isdir(folder or '.')
            listed[folder] = set(os.listdir(folder or '.') if there else ())
        if name not in listed[folder]:
            missing.append(sample)
    return missing


def _place(file: AnnotationFile, line: int, text: str) -> str:
    return f'{file.ann_file}, line {line}: {text!r}'


def _parse(file: AnnotationFile, line: int, text: str) -> Sample:
    path, *words = text.split(file.delimiter)
    names = file.fields[1:]
    if not file.labelled and len(words) == len(names) - 1:
        names = names[:-1]
    if not path or len(words) != len(names):
        separator = ('white space'
                     if file.delimiter is None else repr(file.delimiter))
        raise ValueError(
            f'{_place(file, line, text)} must be {len(names) + 1} fields '
            f'({", ".join((file.fields[0], *names))}) separated by '
            f'{separator}, but there are {len(words) + 1}. For paths with '
            'spaces in them, or fields separated otherwise, set delimiter in '
            "the config's dataset, such as delimiter=',', and write the file "
            'that way.')
    numbers = {}
    for name, word in zip(names, words):
        try:
            numbers[name] = int(word)
        except ValueError:
            raise ValueError(f'{_place(file, line, text)}: {name} must be an '
                             f'integer, but got {word!r}.') from None
    path = osp.join(file.data_prefix, path)
    path = path if '://' in path else osp.normpath(path)
    return Sample(file, line, text, path, numbers)
