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
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import cv2
import numpy as np
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmaction.utils import get_str_type
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.logging import print_log

from ata_mm.video import FrameSource, VideoError, decoding
from ata_mm.video.pipeline import step_names
from ata_mm.video.reading import USE_VIDEO_INIT

from .annotations import (
    AnnotationFile,
    Sample,
    label_faults,
    missing_files,
    read_samples,
)

LOADERS = ('train', 'val', 'test')

_OWN_DECODER = (dict(type='VideoInit'), dict(type='VideoDecode'))

# Mean difference of brightness, in 0..255, of the same frame by two decoders.
_LARGEST_ERROR = 3.0


class ConfiguredFile(NamedTuple):
    """Annotation file of a data set in a config.

    Args:
        loader (str): 'train', 'val' or 'test'.
        dataset (str): Type of the data set.
        file (AnnotationFile, optional): The file. None if data sets of this
            type read their annotations in another way.
        decoder (tuple[dict, ...]): The transforms of the pipeline that open
            and decode a video; empty if it has none.
    """

    loader: str
    dataset: str
    file: Optional[AnnotationFile]
    decoder: Tuple[dict, ...] = ()


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
        FileNotFoundError, ValueError: See :func:`check_annotations`,
            :func:`multi_label_faults` and :func:`segment_faults`.
    """
    for fault in (*multi_label_faults(cfg, loaders), *segment_faults(cfg)):
        raise fault
    classes = num_classes(cfg)
    for loader, dataset, file, _ in annotation_files(cfg, loaders):
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
            kind, steps = str(part.get('type')), part.get('pipeline') or ()
            yield ConfiguredFile(loader, kind, file, _decoder(steps))


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


def segment_faults(cfg: Config) -> List[ValueError]:
    """Find pipelines of other clips than an ATANeck takes.

    All loaders are inspected, so that a training does not end in a test that
    cannot run.

    Args:
        cfg (Config): Config of a recognizer.

    Returns:
        list[ValueError]: One for each loader of a Recognizer2D whose frames
        per video are no multiple of ``num_segments``.
    """
    model = cfg.get('model', {})
    segments = (model.get('neck') or {}).get('num_segments')
    is_neck = get_str_type((model.get('neck') or {}).get('type', ''))
    kind = get_str_type(model.get('type', ''))
    if is_neck != 'ATANeck' or not segments or kind != 'Recognizer2D':
        return []
    faults = []
    for loader in LOADERS:
        dataloader = cfg.get(f'{loader}_dataloader')
        for part in _parts(dataloader.dataset) if dataloader else ():
            steps = part.get('pipeline') or ()
            frames = [
                step.get('clip_len', 1) * step.get('num_clips', 1)
                for step, name in zip(steps, step_names(steps))
                if 'Sample' in name
            ]
            if frames and frames[0] % segments:
                faults.append(
                    ValueError(
                        f'Expected {segments} frames of a video in '
                        f'{loader}_dataloader, as num_segments of ATANeck, or '
                        f'a multiple, got {frames[0]}. Set '
                        f'num_clips={segments} in the SampleFrames of its '
                        'pipeline.'
                    )
                )
    return faults


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
        groups[_frames(sample)].append(sample)
    return list(groups.values())


def _frames(sample: Sample) -> Tuple[Any, ...]:
    """Return what identifies the frames of a sample."""
    file = sample.file
    numbers = sorted(sample.numbers.items())
    return sample.path, file.filename_tmpl, file.start_index, *numbers


def repetitions(samples: Mapping[str, Sequence[Sample]]) -> List[str]:
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
) -> Optional[Exception]:
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


def _decoder(steps: Sequence[dict]) -> Tuple[dict, ...]:
    """Return the transforms of a pipeline that open and decode a video."""
    names = step_names(steps)
    inits = [i for i, name in enumerate(names) if name.endswith('Init')]
    decodes = [i for i, name in enumerate(names) if 'Decode' in name]
    if not inits or not decodes:
        return ()
    return tuple(dict(steps[i]) for i in (inits[0], decodes[0]))


def _compare_orders(video: str, decoder: Sequence[dict]) -> None:
    """Raise if random access gives other frames than reading in order."""
    with FrameSource(video) as source:
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


def _spread(number: int) -> List[int]:
    """Return the indices of the first, the middle and the last frame."""
    return sorted({0, number // 2, number - 1})
