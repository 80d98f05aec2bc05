# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checks of annotation files, for the time before training starts."""
import os.path as osp
from typing import Iterator, NamedTuple, Optional, Sequence

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from .annotation_file import (
    AnnotationFile,
    label_faults,
    missing_files,
    read_samples,
)

LOADERS = ('train', 'val', 'test')


class ConfiguredFile(NamedTuple):
    """A data set of a config, and the annotation file that it reads.

    Args:
        loader (str): 'train', 'val' or 'test'.
        dataset (str): Type of the data set.
        file (AnnotationFile, optional): None where it is not known what a
            data set of this type reads.
    """
    loader: str
    dataset: str
    file: Optional[AnnotationFile]


def check_annotations(file: AnnotationFile, num_classes: int) -> None:
    """Check the lines of an annotation file, and that what they list exists.

    Args:
        file (AnnotationFile): The file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.

    Raises:
        FileNotFoundError: If the annotation file or files that it lists do
            not exist. Remote ones (``scheme://…``) are not looked for.
        ValueError: If the file is empty, or if a line has another number of
            fields, a field that is not an integer where one must be, or a
            label that is none of the classes.
    """
    samples, faults = read_samples(file)
    for fault in faults + label_faults(samples, num_classes):
        raise fault
    missing = missing_files(samples)
    if missing:
        paths = [sample.path for sample in missing]
        raise FileNotFoundError(
            f'{len(paths)} of the {len(samples)} files in {file.ann_file} do '
            f'not exist, such as {", ".join(paths[:3])}. Check data_prefix '
            'and data_root in the config, or take them out of the list.')


def check_config(cfg: Config, loaders: Sequence[str] = LOADERS) -> None:
    """Check the annotation files that the data loaders of a config name.

    Those of :func:`annotation_files`, against
    ``cfg.model.cls_head.num_classes``; of other data sets a line in the log
    says that they are not checked.

    Args:
        cfg (Config): Config of a recognizer.
        loaders (Sequence[str]): Which loaders to look at. Defaults to
            ``('train', 'val', 'test')``.

    Raises:
        FileNotFoundError, ValueError: See :func:`check_annotations`.
    """
    classes = num_classes(cfg)
    for loader, dataset, file in annotation_files(cfg, loaders):
        if file is None or classes is None:
            print_log(
                f'Annotations of the {dataset} in {loader}_dataloader are not '
                'checked beforehand.',
                logger='current')
        else:
            check_annotations(file, classes)


def annotation_files(
        cfg: Config,
        loaders: Sequence[str] = LOADERS) -> Iterator[ConfiguredFile]:
    """Find the annotation files that the data loaders of a config name.

    They are those of MMAction2's ``VideoDataset`` and ``RawframeDataset``,
    also inside wrappers. Only test files may be without labels.

    Args:
        cfg (Config): Config of a recognizer.
        loaders (Sequence[str]): Which loaders to look at. Defaults to
            ``('train', 'val', 'test')``.

    Yields:
        ConfiguredFile: One for each data set.
    """
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        for part in _parts(dataloader.dataset) if dataloader else ():
            file = _annotation_file(part, labelled=loader != 'test')
            yield ConfiguredFile(loader, str(part.get('type')), file)


def num_classes(cfg: Config) -> Optional[int]:
    """The number of classes of the head, None where the config has none."""
    head = cfg.get('model', {}).get('cls_head') or {}
    return head.get('num_classes')


def _parts(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """The data sets inside wrappers like RepeatDataset, ConcatDataset."""
    inner = dataset.get('datasets') or dataset.get('dataset')
    if not inner:
        yield dataset
        return
    for part in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from _parts(part)


def _annotation_file(dataset: ConfigDict,
                     labelled: bool) -> Optional[AnnotationFile]:
    """The file of a data set of a type that is understood."""
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    load = getattr(kind, 'load_data_list', None)
    if dataset.get('multi_class') or 'ann_file' not in dataset:
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
        **options)


def _frame_options(dataset: ConfigDict) -> dict:
    """How a RawframeDataset reads lines, and what its frames are called."""
    offset = ('offset', ) * bool(dataset.get('with_offset'))
    template = dataset.get('filename_tmpl', 'img_{:05}.jpg')
    colour = dataset.get('modality', 'RGB') == 'RGB'
    return dict(
        delimiter=None,
        fields=('path', *offset, 'total_frames', 'label'),
        filename_tmpl=template if colour else None,
        start_index=dataset.get('start_index', 1))
