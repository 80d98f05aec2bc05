# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Look at every sample of a data set before a long run does."""
import os
import os.path as osp
from collections import defaultdict
from typing import Iterable, List, Optional, Sequence, Tuple

import cv2
from decord import DECORDError, VideoReader

from ata_mm.video.files import check_video_file, undecodable

from .annotation_file import (
    AnnotationFile,
    Sample,
    label_faults,
    missing_files,
    read_samples,
)


def check_lines(
        file: AnnotationFile,
        num_classes: Optional[int]) -> Tuple[List[Sample], List[Exception]]:
    """Find all that is wrong with an annotation file and can be told without
    opening what it lists.

    Args:
        file (AnnotationFile): The file.
        num_classes (int, optional): Number of classes; None where it is not
            known, and labels are not looked at.

    Returns:
        tuple[list[Sample], list[Exception]]: The lines whose video or folder
        of frames exists, and the faults, each with file and line.
    """
    try:
        samples, faults = read_samples(file)
    except (ValueError, FileNotFoundError) as error:
        return [], [error]
    if num_classes is not None:
        faults += label_faults(samples, num_classes)
    missing = missing_files(samples)
    faults += [
        FileNotFoundError(f'{sample.place}: {sample.path} does not exist. '
                          'Check data_prefix and data_root in the config, or '
                          'remove the line.') for sample in missing
    ]
    lost = {sample.line for sample in missing}
    return [sample for sample in samples if sample.line not in lost], faults


def same_frames(samples: Iterable[Sample]) -> List[List[Sample]]:
    """Group lines that list the same frames, which need one look only.

    Args:
        samples (Iterable[Sample]): Lines of any number of files.

    Returns:
        list[list[Sample]]: Lines that differ in nothing but their labels and
        the file that they are in, together.
    """
    groups = defaultdict(list)
    for sample in samples:
        numbers = {**sample.numbers, 'label': None}
        file = sample.file
        groups[(sample.path, file.filename_tmpl, file.start_index,
                *sorted(numbers.items()))].append(sample)
    return list(groups.values())


def decode_fault(sample: Sample) -> Optional[Exception]:
    """Read the first, the middle and the last frame of a sample.

    Args:
        sample (Sample): A line whose video or folder of frames exists. Remote
            ones (``scheme://…``), and folders of optical flow, are passed
            over.

    Returns:
        Exception | None: What is wrong, a ValueError or an OSError.
    """
    try:
        if '://' in sample.path:
            return None
        if 'total_frames' in sample.numbers:
            _read_images(sample)
        else:
            _read_video(sample.file_path)
    except (ValueError, OSError) as error:
        return error
    return None


def count_classes(samples: Sequence[Sample], num_classes: int) -> List[int]:
    """How many samples each class has.

    Args:
        samples (Sequence[Sample]): Lines of annotation files; those without a
            label, or with one out of range, are not counted.
        num_classes (int): Number of classes.

    Returns:
        list[int]: A count for each class.
    """
    counts = [0] * num_classes
    for sample in samples:
        if sample.label is not None and 0 <= sample.label < num_classes:
            counts[sample.label] += 1
    return counts


def _read_video(path: str) -> None:
    check_video_file(path)
    try:
        reader = VideoReader(path, num_threads=1)
        reader.get_batch(_spread(len(reader)))  # as DecordDecode
    except (DECORDError, RuntimeError, IndexError) as error:
        raise undecodable(path) from error


def _read_images(sample: Sample) -> None:
    """Check that a folder has the frames that its line says."""
    template = sample.file.filename_tmpl
    if template is None:
        return
    if not osp.isdir(sample.path):
        raise ValueError(f'{sample.path} is a file; expected a folder of '
                         'frames')
    number = sample.numbers['total_frames']
    first = sample.file.start_index + sample.numbers.get('offset', 0)
    names = [template.format(first + index) for index in range(number)]
    missing = sorted(set(names) - set(os.listdir(sample.path)))
    if number < 1 or missing:
        raise ValueError(
            f'{sample.path} has {number - len(missing)} of the {number} '
            f'frames from {template.format(first)}, expected all and at least '
            'one. Correct total_frames, or set filename_tmpl, start_index or '
            "with_offset in the config's dataset")
    for index in _spread(number):
        path = osp.join(sample.path, names[index])
        if cv2.imread(path) is None:
            raise ValueError(f'{path} cannot be decoded; expected an image')


def _spread(number: int) -> List[int]:
    """The first, the middle and the last of so many; of none the first, which
    a reader refuses."""
    return sorted({0, number // 2, max(0, number - 1)})
