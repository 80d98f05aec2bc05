# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Validate the annotation files of a config and the samples they list.

:func:`check_config` is the fast part that runs before training. The checks of
single samples, :func:`check_lines` and :func:`decode_fault`, are for
``tools/check_dataset.py``.
"""

import os
import os.path as osp
from collections import defaultdict
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import cv2
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmaction.utils import get_str_type
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ata_mm.video import open_video

from .annotations import (
    AnnotationFile,
    Sample,
    label_faults,
    missing_files,
    read_samples,
)

LOADERS = ('train', 'val', 'test')


class ConfiguredFile(NamedTuple):
    """Annotation file of a data set in a config.

    Args:
        loader (str): 'train', 'val' or 'test'.
        dataset (str): Type of the data set.
        file (AnnotationFile, optional): The file. None if data sets of this
            type read their annotations in another way.
    """

    loader: str
    dataset: str
    file: Optional[AnnotationFile]


def check_config(cfg: Config, loaders: Sequence[str] = LOADERS) -> None:
    """Validate the annotation files of a config before training.

    The files are those of :func:`annotation_files`, and the number of classes
    is ``cfg.model.cls_head.num_classes``. Other data sets are not validated,
    which is logged. Multi-label data sets need a head and a metric for them.

    Args:
        cfg (Config): Config of a recognizer.
        loaders (Sequence[str]): The loaders to validate. Defaults to
            ``('train', 'val', 'test')``.

    Raises:
        FileNotFoundError, ValueError: See :func:`check_annotations` and
            :func:`multi_label_faults`.
    """
    for fault in multi_label_faults(cfg, loaders):
        raise fault
    classes = num_classes(cfg)
    for loader, dataset, file in annotation_files(cfg, loaders):
        if file is None or classes is None:
            print_log(
                f'The annotations of {dataset} in {loader}_dataloader are not '
                'validated before the run.',
                logger='current',
            )
        else:
            check_annotations(file, classes)


def check_annotations(file: AnnotationFile, num_classes: int) -> None:
    """Validate the lines of an annotation file and the paths they list.

    Args:
        file (AnnotationFile): The file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.

    Raises:
        FileNotFoundError: If the annotation file or listed files do not exist.
            Remote ones (``scheme://…``) are not checked.
        ValueError: If the file is empty, or if a line has a wrong number of
            fields, a field that is not an integer where one is expected, or a
            label out of range.
    """
    samples, faults = read_samples(file)
    for fault in faults + label_faults(samples, num_classes):
        raise fault
    missing = missing_files(samples)
    if missing:
        paths = [sample.path for sample in missing]
        raise FileNotFoundError(
            f'Expected {_expected_path(missing[0])} at every path listed in '
            f'{file.ann_file}, but {len(paths)} of the {len(samples)} are '
            f'missing, such as {", ".join(paths[:3])}. Check data_prefix and '
            'data_root in the config, or remove the lines.'
        )


def annotation_files(
    cfg: Config, loaders: Sequence[str] = LOADERS
) -> Iterator[ConfiguredFile]:
    """Find the annotation files of the data loaders of a config.

    Data sets of MMAction2's ``VideoDataset`` and ``RawframeDataset`` are
    supported, also inside wrappers. Only test files may be without labels.

    Args:
        cfg (Config): Config of a recognizer.
        loaders (Sequence[str]): The loaders to inspect. Defaults to
            ``('train', 'val', 'test')``.

    Yields:
        ConfiguredFile: One for each data set.
    """
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        for part in _parts(dataloader.dataset) if dataloader else ():
            file = _annotation_file(part, labelled=loader != 'test')
            yield ConfiguredFile(loader, str(part.get('type')), file)


def multi_label_faults(
    cfg: Config, loaders: Sequence[str] = LOADERS
) -> List[ValueError]:
    """Find disagreements of data sets, head and metric on several labels.

    Args:
        cfg (Config): Config of a recognizer.
        loaders (Sequence[str]): The loaders to inspect. Defaults to
            ``('train', 'val', 'test')``.

    Returns:
        list[ValueError]: One for each data set whose ``multi_class`` or
        ``num_classes`` is not that of the head, and for each metric of
        multi-label data that compares one label.
    """
    head = cfg.get('model', {}).get('cls_head') or {}
    multi = bool(head.get('multi_class'))
    faults = []
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        for part in _parts(dataloader.dataset) if dataloader else ():
            if bool(part.get('multi_class')) != multi:
                faults.append(
                    f'multi_class={multi} in the dataset of '
                    f'{loader}_dataloader, as in cls_head'
                )
            elif multi and part.get('num_classes') != num_classes(cfg):
                faults.append(
                    f'num_classes={num_classes(cfg)} in the dataset of '
                    f'{loader}_dataloader, as in cls_head'
                )
        if multi and _counts_one_label(cfg.get(f'{loader}_evaluator')):
            faults.append(
                "metric_list=('mean_average_precision',) in the AccMetric of "
                f'{loader}_evaluator, for several labels'
            )
    return [
        ValueError(f'Expected {fault}. Set it in the config.')
        for fault in dict.fromkeys(faults)
    ]


def _counts_one_label(evaluator: Any) -> bool:
    """Return whether an AccMetric compares one label with the scores."""
    metrics = (
        evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    )
    for metric in metrics:
        if metric and get_str_type(metric.get('type', '')) == 'AccMetric':
            names = metric.get('metric_list', ('top_k_accuracy',))
            names = (names,) if isinstance(names, str) else names
            return any('mean_average' not in name for name in names)
    return False


def num_classes(cfg: Config) -> Optional[int]:
    """Return the number of classes of the head, None if not configured."""
    head = cfg.get('model', {}).get('cls_head') or {}
    return head.get('num_classes')


def check_lines(
    file: AnnotationFile, num_classes: Optional[int]
) -> Tuple[List[Sample], List[Exception]]:
    """Find all faults of an annotation file without decoding its samples.

    Args:
        file (AnnotationFile): The file.
        num_classes (int, optional): Number of classes; None if unknown, which
            skips the check of the labels.

    Returns:
        tuple[list[Sample], list[Exception]]: The lines whose video or folder
        of frames exists, and the faults, each with file and line.
    """
    faults: List[Exception] = []
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
            f'{sample.location}: Expected {_expected_path(sample)}, but '
            f'there is none at {sample.path}. Check data_prefix and data_root '
            'in the config, or remove the line.'
        )
        for sample in missing
    ]
    lost = {sample.line for sample in missing}
    return [sample for sample in samples if sample.line not in lost], faults


def same_frames(samples: Iterable[Sample]) -> List[List[Sample]]:
    """Group lines that list the same frames, to decode them once.

    Args:
        samples (Iterable[Sample]): Lines of any number of files.

    Returns:
        list[list[Sample]]: Groups of lines that differ only in their labels
        and annotation files.
    """
    groups: Dict[Tuple[Any, ...], List[Sample]] = defaultdict(list)
    for sample in samples:
        file = sample.file
        key = (
            sample.path,
            file.filename_tmpl,
            file.start_index,
            *sorted(sample.numbers.items()),
        )
        groups[key].append(sample)
    return list(groups.values())


def decode_fault(sample: Sample) -> Optional[Exception]:
    """Decode the first, the middle and the last frame of a sample.

    Args:
        sample (Sample): A line whose video or folder of frames exists. Remote
            paths (``scheme://…``) and folders of optical flow are skipped.

    Returns:
        Exception | None: The fault, a ValueError or an OSError.
    """
    try:
        if '://' in sample.path:
            return None
        if sample.is_video:
            _read_video(sample.file_path)
        else:
            _read_images(sample)
    except (ValueError, OSError) as error:
        return error
    return None


def count_classes(samples: Sequence[Sample], num_classes: int) -> List[int]:
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


def _expected_path(sample: Sample) -> str:
    return 'a video file' if sample.is_video else 'a folder of frames'


def _parts(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """Yield the data sets in wrappers like RepeatDataset, ConcatDataset."""
    inner = dataset.get('datasets') or dataset.get('dataset')
    if not inner:
        yield dataset
        return
    for part in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from _parts(part)


def _annotation_file(
    dataset: ConfigDict, labelled: bool
) -> Optional[AnnotationFile]:
    """Return the file of a data set, None if its type is not supported.

    A type is supported if it reads annotations by the method of VideoDataset
    or RawframeDataset, also as a subclass.
    """
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    load = getattr(kind, 'load_data_list', None)
    if 'ann_file' not in dataset:
        return None
    if load is VideoDataset.load_data_list:
        key = 'video'
        options = dict(delimiter=dataset.get('delimiter', ' '))
    elif load is RawframeDataset.load_data_list:
        key, options = 'img', _frame_options(dataset)
    else:
        return None
    root = dataset.get('data_root') or ''
    prefix = (dataset.get('data_prefix') or {}).get(key) or ''
    return AnnotationFile(
        osp.join(root, dataset.ann_file),
        osp.join(root, prefix),
        labelled=labelled,
        multi_label=bool(dataset.get('multi_class')),
        **options,
    )


def _frame_options(dataset: ConfigDict) -> dict:
    """Return the options of a RawframeDataset for AnnotationFile."""
    offset = ('offset',) * bool(dataset.get('with_offset'))
    template = dataset.get('filename_tmpl', 'img_{:05}.jpg')
    colour = dataset.get('modality', 'RGB') == 'RGB'
    return dict(
        delimiter=None,
        fields=('path', *offset, 'total_frames'),
        filename_tmpl=template if colour else None,
        start_index=dataset.get('start_index', 1),
    )


def _read_video(path: str) -> None:
    """Raise if frames of a video cannot be decoded."""
    with open_video(path, num_threads=1) as reader:
        reader.get_batch(_spread(len(reader)))  # like DecordDecode


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


def _spread(number: int) -> List[int]:
    """Return the indices of the first, the middle and the last frame."""
    return sorted({0, number // 2, number - 1})
