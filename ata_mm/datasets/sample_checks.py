# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Validate the samples of annotation files, for ``tools/check_dataset.py``."""

import os
import os.path as osp
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import Compose

from ata_mm.video import FrameSource, VideoError, decoding
from ata_mm.video.reading import USE_VIDEO_INIT

from .annotations import (
    AnnotationFile,
    Sample,
    expected_path,
    label_faults,
    missing_files,
    read_samples,
)

_OWN_DECODER = (dict(type='VideoInit'), dict(type='VideoDecode'))


# Mean difference of brightness, in 0..255, of the same frame by two decoders.
_LARGEST_ERROR = 3.0


def check_lines(
    file: AnnotationFile, num_classes: int | None
) -> tuple[list[Sample], list[Exception]]:
    """Find all faults of an annotation file without decoding its samples.

    Args:
        file (AnnotationFile): The file.
        num_classes (int, optional): Number of classes; None if unknown, which
            skips the check of the labels.

    Returns:
        tuple[list[Sample], list[Exception]]: The lines whose video or folder
        of frames exists, and the faults, each with file and line.
    """
    faults: list[Exception] = []
    try:
        samples, found = read_samples(file)
    except (ValueError, FileNotFoundError) as error:
        return [], [error]
    faults += found
    if num_classes is not None:
        faults += label_faults(samples, num_classes)
    missing = missing_files(samples)
    faults += [
        FileNotFoundError(
            f'{sample.location}: Expected {expected_path(sample)}, but '
            f'there is none at {sample.path}. Check data_prefix and data_root '
            'in the config, or remove the line.'
        )
        for sample in missing
    ]
    lost = {sample.line for sample in missing}
    return [sample for sample in samples if sample.line not in lost], faults


def same_frames(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Group lines that list the same frames, to decode them once.

    Args:
        samples (Iterable[Sample]): Lines of any number of files.

    Returns:
        list[list[Sample]]: Groups of lines that differ only in their labels
        and annotation files.
    """
    groups: dict[tuple[Any, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[_frames(sample)].append(sample)
    return list(groups.values())


def _frames(sample: Sample) -> tuple[Any, ...]:
    """Return what identifies the frames of a sample."""
    file = sample.file
    numbers = sorted(sample.numbers.items())
    return sample.path, file.filename_tmpl, file.start_index, *numbers


def repetitions(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Find frames with two labels, and training frames in validation or test.

    Args:
        samples (Mapping[str, Sequence[Sample]]): Lines by loader.

    Returns:
        list[str]: A sentence for each loader with such frames.
    """
    found = []
    groups = {loader: same_frames(lines) for loader, lines in samples.items()}
    for loader, own in groups.items():
        several = [g for g in own if len({sample.labels for sample in g}) > 1]
        if several:
            labels = ' and '.join(
                f'{" ".join(map(str, sample.labels))} (line {sample.line})'
                for sample in several[0]
            )
            found.append(
                f'{len(several)} of {len(own)} in {loader} have lines with '
                f'different labels, such as {several[0][0].path}: {labels}'
            )
    seen = {_frames(group[0]) for group in groups.get('train', ())}
    for loader in groups.keys() - {'train'}:
        known = [g[0] for g in groups[loader] if _frames(g[0]) in seen]
        if known:
            found.append(
                f'{len(known)} of {len(groups[loader])} in {loader} are '
                f'in train, too, such as {known[0].path}: scores do not show '
                'how the model generalizes'
            )
    return sorted(found)


def decode_fault(
    sample: Sample, decoder: Sequence[dict] = ()
) -> Exception | None:
    """Decode frames of a sample.

    A video is read in order by PyAV, and eight frames of it at random by the
    transforms of the config, which have to be the same. Of a folder, the
    first, the middle and the last frame are read.

    Args:
        sample (Sample): A line whose video or folder of frames exists. Remote
            paths (``scheme://…``) and folders of optical flow are skipped.
        decoder (Sequence[dict]): The transforms that open and decode a video.
            Defaults to (), ``VideoInit`` and ``VideoDecode``.

    Returns:
        Exception | None: The fault, a ValueError or an OSError.
    """
    try:
        if '://' in sample.path:
            return None
        if sample.is_video:
            _compare_orders(sample.file_path, decoder or _OWN_DECODER)
        else:
            _read_images(sample)
    except (ValueError, OSError) as error:
        return error
    return None


def count_classes(samples: Sequence[Sample], num_classes: int) -> list[int]:
    """Count the samples of each class.

    Args:
        samples (Sequence[Sample]): Lines of annotation files; those without a
            label, or with one out of range, are not counted.
        num_classes (int): Number of classes.

    Returns:
        list[int]: A count for each class.
    """
    counts = [0] * num_classes
    for sample in samples:
        for label in set(sample.labels):
            if 0 <= label < num_classes:
                counts[label] += 1
    return counts


def _compare_orders(video: str, decoder: Sequence[dict]) -> None:
    """Raise if random access gives other frames than reading in order."""
    with FrameSource(video, is_file=True) as source:
        in_order = [_thumbnail(frame) for frame in source]
    expected = np.stack(in_order)
    init, decode = Compose(decoder).transforms
    data = dict(filename=video, start_index=0, modality='RGB')
    with decoding(video):
        results = init(data)
        number = results['total_frames']
        if number != len(expected):
            raise VideoError(
                video,
                f'has {number} frames for {type(init).__name__} and '
                f'{len(expected)} in order',
                USE_VIDEO_INIT,
            )
        # From the end to the start, so that each frame has to be sought.
        asked = np.unique(np.linspace(number - 1, 0, 8).astype(int))[::-1]
        frames = decode(dict(results, frame_inds=asked))['imgs']
    for index, frame in zip(asked.tolist(), frames):
        errors = np.abs(expected - _thumbnail(frame)).mean((1, 2))
        if errors[index] > _LARGEST_ERROR:
            raise VideoError(
                video,
                f'is not read correctly by {type(init).__name__}: frame '
                f'{index} looks like frame {errors.argmin()} in order',
                USE_VIDEO_INIT,
            )


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """Shrink a frame to 16 x 16 pixels of brightness."""
    small = cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _read_images(sample: Sample) -> None:
    """Raise if frames of a folder are missing or cannot be decoded."""
    template = sample.file.filename_tmpl
    if template is None:
        return
    if not osp.isdir(sample.path):
        raise ValueError(
            f'Expected a folder of frames, but {sample.path} is a file.'
        )
    number = sample.numbers['total_frames']
    first = sample.file.start_index + sample.numbers.get('offset', 0)
    names = [template.format(first + index) for index in range(number)]
    missing = sorted(set(names) - set(os.listdir(sample.path)))
    if number < 1 or missing:
        raise ValueError(
            f'Expected at least one and all of the {number} frames from '
            f'{template.format(first)} in {sample.path}, got '
            f'{number - len(missing)} of the {number} frames. Correct '
            'total_frames, or set filename_tmpl, start_index or with_offset '
            "in the config's dataset."
        )
    for index in _spread(number):
        path = osp.join(sample.path, names[index])
        if cv2.imread(path) is None:
            raise ValueError(
                f'Expected an image, but {path} cannot be decoded.'
            )


def _spread(number: int) -> list[int]:
    """Return the indices of the first, the middle and the last frame."""
    return sorted({0, number // 2, number - 1})
