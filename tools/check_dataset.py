# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Check the data sets of a config: ``python tools/check_dataset.py CONFIG``.

Validates each line of each annotation file: its fields, its label, that its
video or folder of frames exists, and that it can be decoded: the frames that
the decoder of the config reads at random have to be those read in order. Files
are read in other processes, whose crashes are faults of these files. Prints
the number of samples of each class, and file and line of each fault; warns of
videos with two labels, and of training videos in validation or test. The exit
status is 1 if there is a fault, or if nothing could be checked. Before it
starts, ``tools/train.py`` runs the same checks except decoding.
"""

import argparse
import os
import sys
from itertools import chain
from typing import NamedTuple

from ata_mm.cli.arguments import (
    add_cfg_options,
    add_time_limit,
    positive,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Check the data sets of a config'
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--no-decode',
        action='store_true',
        help='do not open videos and frames, which takes most of the time',
    )
    parser.add_argument(
        '--workers',
        type=positive,
        default=len(os.sched_getaffinity(0)),
        help='number of parallel decoders (default: one per core)',
    )
    parser.add_argument(
        '--limit',
        type=positive,
        default=50,
        help='maximal number of faults to show; all are counted (default: 50)',
    )
    add_time_limit(parser)
    add_cfg_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ata_mm.apis import load_config
from ata_mm.apis.preprocessing import expected_statistics, preprocessing_fault
from ata_mm.apis.recognizer import class_names
from ata_mm.cli.console import escape_names, print_message, stderr_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.tables import markdown_table
from ata_mm.datasets.annotations import Sample
from ata_mm.datasets.checks import (
    annotation_files,
    multi_label_faults,
    num_classes,
    segment_faults,
)
from ata_mm.datasets.sample_checks import (
    check_lines,
    count_classes,
    decode_fault,
    repetitions,
    same_frames,
)
from ata_mm.video import Workers

Samples = dict[str, list[Sample]]
Decoder = tuple[dict, ...]


class Task(NamedTuple):
    """A sample to decode, and how.

    Args:
        sample (Sample): A line of an annotation file.
        decoder (tuple[dict, ...]): Transforms that open and decode a video.
    """

    sample: Sample
    decoder: Decoder


def read_lines(
    cfg: Config, classes: int | None
) -> tuple[Samples, list[Exception], list[str]]:
    """Validate the annotation files of a config.

    Args:
        cfg (Config): The config.
        classes (int, optional): Number of classes; None if unknown.

    Returns:
        tuple[dict[str, list[Sample]], list[Exception], list[str]]: Valid lines
        by loader, faults, and descriptions of the parts not checked.
    """
    samples: Samples = {}
    faults: list[Exception] = [*multi_label_faults(cfg), *segment_faults(cfg)]
    unchecked = []
    if classes is None:
        unchecked.append('labels; cls_head in the config has no num_classes')
    for loader, dataset, file, _ in annotation_files(cfg):
        if file is None:
            unchecked.append(
                f'{dataset} in {loader}_dataloader; it reads no '
                'list of files and labels'
            )
            continue
        good, found = check_lines(file, classes)
        samples.setdefault(loader, []).extend(good)
        faults += found
    return samples, faults, unchecked


def decode(
    cfg: Config, samples: Samples, workers: int, time_limit: float
) -> list[Exception]:
    """Decode each video or folder of frames once and return the faults."""
    groups = same_frames(chain.from_iterable(samples.values()))
    decoders = {part.file: part.decoder for part in annotation_files(cfg)}
    tasks = [Task(group[0], decoders[group[0].file]) for group in groups]
    pool: Workers = Workers(
        lambda task: decode_fault(*task),
        min(workers, max(len(tasks), 1)),
        time_limit,
        name=lambda task: task.sample.path,
    )
    with pool, stderr_progress() as progress:
        found = progress.track(
            pool.imap(tasks), total=len(groups), description='Decoding'
        )
        return [
            ValueError(f'{sample.location}: {outcome.error or outcome.value}')
            for outcome, group in zip(found, groups)
            if outcome.error or outcome.value
            for sample in group
        ]


def names_of_classes(
    cfg: Config, classes: int
) -> tuple[list[str], list[Exception]]:
    """Return the names of the classes, and the faults of these names."""
    faults: list[Exception] = []
    if cfg.get('test_dataloader'):
        try:
            return class_names(cfg, {}), faults
        except ValueError as error:
            faults.append(error)
    return [f'class {label}' for label in range(classes)], faults


def show_classes(names: list[str], samples: Samples) -> None:
    """Print a Markdown table of the number of samples of each class."""
    counts = {
        loader: count_classes(good, len(names))
        for loader, good in samples.items()
    }
    rows = [
        [label, name, *(count[label] for count in counts.values())]
        for label, name in enumerate(names)
    ]
    print(markdown_table(['label', 'class', *counts], rows))
    print()
    for loader, count in counts.items():
        empty = [name for name, number in zip(names, count) if not number]
        if empty:
            print(f'{loader}: no sample of {", ".join(empty)}')


def show_faults(faults: list[str], limit: int) -> None:
    """Print faults, up to a limit, to stderr."""
    for fault in faults[:limit]:
        print_message(f'fault: {fault}')
    if len(faults) > limit:
        print_message(f'… and {len(faults) - limit} more')


def main() -> None:
    """Print the classes and the faults."""
    args = parse_args()
    escape_names()
    with user_errors():
        check(args)


def check(args: argparse.Namespace) -> None:
    """Check a data set, and exit with status 1 if it has faults."""
    cfg = load_config(args.config, args.cfg_options)
    fault = preprocessing_fault(
        cfg, expected_statistics(cfg, cfg.get('load_from'))
    )
    if fault:
        print_message(f'warning: {fault}')
    classes = num_classes(cfg)
    samples, faults, unchecked = read_lines(cfg, classes)
    if classes is not None and samples:
        names, found = names_of_classes(cfg, classes)
        faults += found
        show_classes(names, samples)
    for message in repetitions(samples):
        print_message(f'warning: {message}')
    if not args.no_decode:
        init_default_scope(cfg.default_scope)
        faults += decode(cfg, samples, args.workers, args.time_limit)
    # If val and test read the same file, its faults are found twice.
    messages = list(dict.fromkeys(str(fault) for fault in faults))
    show_faults(messages, args.limit)
    for part in unchecked:
        print(f'not checked: {part}')
    sizes = ', '.join(f'{name} {len(good)}' for name, good in samples.items())
    print(f'samples: {sizes or 0}; faults: {len(messages)}')
    if not any(samples.values()) and not messages:
        sys.exit('check_dataset.py: error: nothing was checked')
    sys.exit(1 if messages else 0)


if __name__ == '__main__':
    main()
