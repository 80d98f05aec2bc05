# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Check the data sets of a config: ``python tools/check_dataset.py CONFIG``.

Every line of every annotation file: its fields, its label, that its video or
folder of frames exists, and that the first, the middle and the last frame can
be decoded. Prints how many samples each class has, and names file and line of
each fault; the exit status is 1 if there is one. ``tools/train.py`` does the
part without decoding before it starts.
"""
import argparse
import os
import sys
from itertools import chain
from multiprocessing.pool import ThreadPool
from typing import Dict, List, Optional, Tuple

import ata_mm  # noqa: F401  must precede what mmaction2 imports

from mmengine.config import Config

from ata_mm.apis import load_config
from ata_mm.apis.recognizer import class_names
from ata_mm.cli.launch import add_cfg_options, user_errors
from ata_mm.cli.progress import stderr_progress
from ata_mm.datasets.annotation_file import Sample
from ata_mm.datasets.annotations import annotation_files, num_classes
from ata_mm.datasets.checks import (
    check_lines,
    count_classes,
    decode_fault,
    same_frames,
)

Samples = Dict[str, List[Sample]]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Check the data sets of a config')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--no-decode',
        action='store_true',
        help='do not open videos and frames: the quick part')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='how many are decoded at a time (default: one a core)')
    parser.add_argument(
        '--limit',
        type=int,
        default=50,
        help='how many faults to show; all are counted (default: 50)')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.workers < 1 or args.limit < 1:
        parser.error('--workers and --limit expect 1 or more, got '
                     f'{args.workers} and {args.limit}')
    return args


def read_lines(
        cfg: Config,
        classes: Optional[int]) -> Tuple[Samples, List[Exception], List[str]]:
    """Good lines of each loader, faults, and what is not checked."""
    samples, faults, unchecked = {}, [], []
    if classes is None:
        unchecked.append('labels; cls_head in the config has no num_classes')
    for loader, dataset, file in annotation_files(cfg):
        if file is None:
            unchecked.append(f'{dataset} in {loader}_dataloader; it reads no '
                             'list of files with one label each')
            continue
        good, found = check_lines(file, classes)
        samples.setdefault(loader, []).extend(good)
        faults += found
    return samples, faults, unchecked


def decode(samples: Samples, workers: int) -> List[Exception]:
    """Decode each video or folder of frames once, however often it is listed.

    Threads do, since decord and OpenCV work without Python's lock.
    """
    groups = same_frames(chain.from_iterable(samples.values()))
    with ThreadPool(workers) as pool, stderr_progress() as progress:
        found = progress.track(
            pool.imap(decode_fault, (group[0] for group in groups)),
            total=len(groups),
            description='Decoding')
        return [
            ValueError(f'{sample.place}: {fault}')
            for fault, group in zip(found, groups) if fault for sample in group
        ]


def names_of_classes(cfg: Config,
                     classes: int) -> Tuple[List[str], List[Exception]]:
    """The names of the classes, and what is wrong with them."""
    faults = []
    if cfg.get('test_dataloader'):
        try:
            return class_names(cfg, {}), faults
        except ValueError as error:
            faults.append(error)
    return [f'class {label}' for label in range(classes)], faults


def show_classes(names: List[str], samples: Samples) -> None:
    """Print a Markdown table of the number of samples of each class."""
    counts = {
        loader: count_classes(good, len(names))
        for loader, good in samples.items()
    }
    print(f'| label | class | {" | ".join(counts)} |')
    print('|---' * (2 + len(counts)) + '|')
    for label, name in enumerate(names):
        row = ' | '.join(str(count[label]) for count in counts.values())
        print(f'| {label} | {name} | {row} |')
    print()
    for loader, count in counts.items():
        empty = [name for name, number in zip(names, count) if not number]
        if empty:
            print(f'{loader}: no sample of {", ".join(empty)}')


def show_faults(faults: List[str], limit: int) -> None:
    """Name the faults, up to a limit, on stderr."""
    for fault in faults[:limit]:
        print(f'fault: {fault}', file=sys.stderr)
    if len(faults) > limit:
        print(f'… and {len(faults) - limit} more', file=sys.stderr)


def main() -> None:
    """Check as the command line says."""
    args = parse_args()
    with user_errors():
        cfg = load_config(args.config, args.cfg_options)
    classes = num_classes(cfg)
    samples, faults, unchecked = read_lines(cfg, classes)
    if classes is not None and samples:
        names, found = names_of_classes(cfg, classes)
        faults += found
        show_classes(names, samples)
    if not args.no_decode:
        faults += decode(samples, args.workers)
    # Where test reads the file that val reads, its faults are found twice.
    faults = list(dict.fromkeys(map(str, faults)))
    show_faults(faults, args.limit)
    for what in unchecked:
        print(f'not checked: {what}')
    sizes = ', '.join(f'{name} {len(good)}' for name, good in samples.items())
    print(f'samples: {sizes or 0}; faults: {len(faults)}')
    sys.exit(1 if faults else 0)


if __name__ == '__main__':
    main()
