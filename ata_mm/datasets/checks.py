# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Validate the data sets of a config before training.

The checks of single samples, which take longer, are in
:mod:`ata_mm.datasets.sample_checks`.
"""

import logging
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ata_mm.video.pipeline import (
    decoding_index,
    sampling_index,
    step_names,
    type_name,
)

from .annotations import (
    AnnotationFile,
    Sample,
    expected_path,
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
        decoder (tuple[dict, ...]): The transforms of the pipeline that open
            and decode a video; empty if it has none.
    """

    loader: str
    dataset: str
    file: AnnotationFile | None
    decoder: tuple[dict, ...] = ()


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
            :func:`multi_label_faults` and :func:`segment_faults`; or if a
            metric needs labels that a test file does not have.
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
            samples = check_annotations(file, classes)
            unlabelled = [one for one in samples if not one.labels]
            if unlabelled:
                _check_unlabelled(unlabelled, cfg.get(f'{loader}_evaluator'))


def check_annotations(file: AnnotationFile, num_classes: int) -> list[Sample]:
    """Validate the lines of an annotation file and the paths they list.

    Args:
        file (AnnotationFile): The file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.

    Returns:
        list[Sample]: The lines.

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
            f'Expected {expected_path(missing[0])} at every path listed in '
            f'{file.ann_file}, but {len(paths)} of the {len(samples)} are '
            f'missing, such as {", ".join(paths[:3])}. Check data_prefix and '
            'data_root in the config, or remove the lines.'
        )
    return samples


def _check_unlabelled(samples: Sequence[Sample], evaluator: Any) -> None:
    """Raise, or warn, if metrics would compare predictions with no label."""
    file = samples[0].file
    if file.multi_label and 'mmit_mean_average_precision' in _scores(
        evaluator
    ):
        raise ValueError(
            f'{samples[0].location}: Expected labels on every line for '
            f'mmit_mean_average_precision, got none on {len(samples)}. Remove '
            'the lines, or this score from metric_list.'
        )
    names = [
        type_name(metric.get('type', ''))
        for metric in _metrics(evaluator)
        if metric
    ]
    if file.multi_label or set(names) <= {'DumpResults'}:
        return
    message = (
        f'Expected labels in {file.ann_file} for {", ".join(names)}, got '
        'lines without. To write predictions alone, set '
        "test_evaluator=[dict(type='DumpResults', out_file_path='FILE.pkl')]."
    )
    if 'DumpResults' not in names:
        raise ValueError(message)
    print_log(message, logger='current', level=logging.WARNING)


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
) -> list[ValueError]:
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


def segment_faults(cfg: Config) -> list[ValueError]:
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
    is_neck = type_name((model.get('neck') or {}).get('type', ''))
    kind = type_name(model.get('type', ''))
    if is_neck != 'ATANeck' or not segments or kind != 'Recognizer2D':
        return []
    faults = []
    for loader in LOADERS:
        dataloader = cfg.get(f'{loader}_dataloader')
        for part in _parts(dataloader.dataset) if dataloader else ():
            steps = part.get('pipeline') or ()
            index = sampling_index(steps)
            sample = {} if index is None else steps[index]
            frames = sample.get('clip_len', 1) * sample.get('num_clips', 1)
            if sample and frames % segments:
                faults.append(
                    ValueError(
                        f'Expected {segments} frames of a video in '
                        f'{loader}_dataloader, as num_segments of ATANeck, or '
                        f'a multiple, got {frames}. Set '
                        f'num_clips={segments} in the SampleFrames of its '
                        'pipeline.'
                    )
                )
    return faults


def _counts_one_label(evaluator: Any) -> bool:
    """Return whether an AccMetric compares one label with the scores."""
    return any('mean_average' not in name for name in _scores(evaluator))


def _scores(evaluator: Any) -> Sequence[str]:
    """Return the names of the scores of an AccMetric."""
    for metric in _metrics(evaluator):
        if metric and type_name(metric.get('type', '')) == 'AccMetric':
            names = metric.get('metric_list', ('top_k_accuracy',))
            return (names,) if isinstance(names, str) else names
    return ()


def _metrics(evaluator: Any) -> Sequence[Any]:
    """Return the metrics of an evaluator, which may be one alone."""
    return evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]


def num_classes(cfg: Config) -> int | None:
    """Return the number of classes of the head, None if not configured."""
    head = cfg.get('model', {}).get('cls_head') or {}
    return head.get('num_classes')


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
) -> AnnotationFile | None:
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
        options: dict[str, Any] = dict(delimiter=_delimiter(dataset))
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


def _delimiter(dataset: ConfigDict) -> str | None:
    delimiter = dataset.get('delimiter', ' ')
    if not (delimiter is None or (delimiter and isinstance(delimiter, str))):
        raise ValueError(
            f'Expected the delimiter of {dataset.ann_file} to be a string or '
            f'None, white space, got {delimiter!r}. Set it in the file of the '
            'config: --cfg-options splits at commas.'
        )
    return delimiter


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


def _decoder(steps: Sequence[dict]) -> tuple[dict, ...]:
    """Return the transforms of a pipeline that open and decode a video."""
    names = step_names(steps)
    inits = [i for i, name in enumerate(names) if name.endswith('Init')]
    decode = decoding_index(steps)
    if not inits or decode is None:
        return ()
    return tuple(dict(steps[i]) for i in (inits[0], decode))
