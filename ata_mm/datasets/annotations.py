# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Checks of annotation files, for the time before training starts.

At a bad line, MMAction2 stops with an error that names neither the file nor
the line; a label out of range or a missing video shows only when its turn
comes in training.
"""
import os
import os.path as osp
from typing import Iterator, Optional, Sequence

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config, ConfigDict
from mmengine.fileio import list_from_file
from mmengine.logging import print_log

_LOADERS = ('train', 'val', 'test')


def check_annotations(ann_file: str,
                      num_classes: int,
                      data_prefix: str = '',
                      delimiter: Optional[str] = ' ',
                      fields: Sequence[str] = ('path', 'label'),
                      labelled: bool = True) -> None:
    """Check a text file with a path and its label on each line.

    Args:
        ann_file (str): Annotation file.
        num_classes (int): Number of classes; labels are 0..num_classes-1.
        data_prefix (str): Folder that the paths start from. Defaults to ''.
        delimiter (str, optional): What separates the fields of a line; None
            means any white space. Defaults to ``' '``.
        fields (Sequence[str]): What the fields are: first the path, last the
            label, all but the path integers. Defaults to
            ``('path', 'label')``.
        labelled (bool): Whether every line must have its label.
            Defaults to True.

    Raises:
        FileNotFoundError: If the annotation file or files that it lists do
            not exist. Remote ones (``scheme://…``) are not looked for.
        ValueError: If the file is empty, or if a line has another number of
            fields, a field that is not an integer where one must be, or a
            label that is none of the classes.
    """
    if '://' not in ann_file and not osp.isfile(ann_file):
        raise FileNotFoundError(
            f'There is no annotation file {ann_file}. Check ann_file and '
            'data_root in the config.')
    lines = [line.strip() for line in list_from_file(ann_file)]
    if not any(lines):
        raise ValueError(f'{ann_file} is empty; expected on each line: '
                         f'{", ".join(fields)}.')
    paths, labels = [], {}
    for number, line in enumerate(lines, 1):
        path, *integers = line.split(delimiter)
        place = f'{ann_file}, line {number}: {line!r}'
        unlabelled = not labelled and len(integers) == len(fields) - 2
        _check_fields(path, integers, fields[:-1] if unlabelled else fields,
                      delimiter, place)
        paths.append(path)
        if not unlabelled:
            labels[place] = int(integers[-1])
    _check_labels(labels, num_classes)
    if '://' not in data_prefix:
        _check_files(ann_file, data_prefix, paths)


def check_config(cfg: Config, loaders: Sequence[str] = _LOADERS) -> None:
    """Check the annotation files that the data loaders of a config name.

    Files are checked that MMAction2's ``VideoDataset`` or ``RawframeDataset``
    reads, also inside wrappers, against
    ``cfg.model.cls_head.num_classes``; of other data sets a line in the log
    says that they are not. Only test files may be without labels.

    Args:
        cfg (Config): Config of a recognizer.
        loaders (Sequence[str]): Which loaders to look at. Defaults to
            ``('train', 'val', 'test')``.

    Raises:
        FileNotFoundError, ValueError: See :func:`check_annotations`.
    """
    head = cfg.get('model', {}).get('cls_head') or {}
    num_classes = head.get('num_classes')
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        for part in _parts(dataloader.dataset) if dataloader else ():
            reader = _reader(part)
            if reader is None or num_classes is None:
                print_log(
                    f'Annotations of the {part.get("type")} in '
                    f'{loader}_dataloader are not checked beforehand.',
                    logger='current')
            else:
                check_annotations(
                    num_classes=num_classes,
                    labelled=loader != 'test',
                    **reader)


def _check_fields(path, integers, fields, delimiter, place):
    separator = 'white space' if delimiter is None else repr(delimiter)
    if not path or len(integers) != len(fields) - 1:
        raise ValueError(
            f'{place} must be {len(fields)} fields ({", ".join(fields)}) '
            f'separated by {separator}, but there are {len(integers) + 1}. '
            'For paths with spaces in them, or fields separated otherwise, '
            "set delimiter in the config's dataset, such as delimiter=',', "
            'and write the file that way.')
    for name, text in zip(fields[1:], integers):
        try:
            int(text)
        except ValueError:
            raise ValueError(f'{place}: {name} must be an integer, but got '
                             f'{text!r}.') from None


def _check_labels(labels, num_classes):
    for place, label in labels.items():
        if not 0 <= label < num_classes:
            hint = f'set num_classes in cls_head above {label}'
            if label < 0:
                hint = 'remove the line'
            elif min(labels.values()) == 1 and label == num_classes:
                hint = 'labels count from 1 here, subtract 1 from each'
            raise ValueError(
                f'{place}: label must be in 0..{num_classes - 1}, '
                f'but got {label}. Correct it, or {hint}.')


def _check_files(ann_file, data_prefix, paths):
    # Listing each folder once is cheap where a look at each file is not.
    listed = {}
    missing = []
    for path in paths:
        folder, name = osp.split(osp.normpath(osp.join(data_prefix, path)))
        if folder not in listed:
            there = osp.isdir(folder or '.')
            listed[folder] = set(os.listdir(folder or '.') if there else ())
        if name not in listed[folder]:
            missing.append(osp.join(folder, name))
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(paths)} files in {ann_file} do not '
            f'exist, such as {", ".join(missing[:3])}. Check data_prefix and '
            'data_root in the config, or take them out of the list.')


def _parts(dataset) -> Iterator[ConfigDict]:
    """The data sets inside wrappers like RepeatDataset, ConcatDataset."""
    inner = dataset.get('datasets') or dataset.get('dataset')
    if not inner:
        yield dataset
        return
    for part in inner if isinstance(inner, (list, tuple)) else [inner]:
        yield from _parts(part)


def _reader(dataset) -> Optional[dict]:
    """Arguments of check_annotations, for a data set that it understands."""
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    load = getattr(kind, 'load_data_list', None)
    if dataset.get('multi_class') or 'ann_file' not in dataset:
        return None
    if load is VideoDataset.load_data_list:
        fields, key = ('path', 'label'), 'video'
        delimiter = dataset.get('delimiter', ' ')
    elif load is RawframeDataset.load_data_list:
        offset = ('offset', ) * bool(dataset.get('with_offset'))
        fields, key = ('path', *offset, 'total_frames', 'label'), 'img'
        delimiter = None
    else:
        return None
    root = dataset.get('data_root') or ''
    prefix = (dataset.get('data_prefix') or {}).get(key) or ''
    return dict(
        ann_file=osp.join(root, dataset.ann_file),
        data_prefix=osp.join(root, prefix),
        delimiter=delimiter,
        fields=fields)
