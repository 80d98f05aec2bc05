# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in video files.

``python tools/predict.py VIDEO … --config CONFIG --checkpoint CHECKPOINT``
prints a line of JSON for each video, with labels and scores, best first, or
with the error. Everything else is printed to stderr. The exit status is 1 if
a video has an error, except in a job of a launcher, where it would end the
other processes. Files are read in other processes: one that crashes its
decoder costs its own line only.

``--list FILE --out FILE.jsonl`` is for libraries. Such a run goes on with
``--resume`` where it was interrupted, in any number of processes; see
``tools/dist_predict.sh``.
"""

import argparse
import os
import os.path as osp
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from ata_mm.cli.arguments import (
    add_model_options,
    add_time_limit,
    make_folder,
    positive,
)
from ata_mm.cli.demo import parse_with_demo, print_demo


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Recognise the action in video files'
    )
    parser.add_argument(
        'videos',
        nargs='*',
        metavar='VIDEO',
        help='files, folders, or patterns such as "clips/**/*.mp4"',
    )
    parser.add_argument(
        '--views',
        metavar='CROPSxCLIPS',
        help='crops of a frame (1, 3 or 10) x clips of the video, such as '
        '3x1, in one batch (default: those of the config)',
    )
    parser.add_argument(
        '--topk',
        type=positive,
        default=5,
        help='maximal number of labels (default: 5)',
    )
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='write a copy of each video with its labels to this folder',
    )
    parser.add_argument(
        '--list',
        metavar='FILE',
        help='further videos, one a line; - for stdin',
    )
    parser.add_argument(
        '--out',
        metavar='FILE.jsonl',
        help='write the lines to this file instead of stdout; processes of a '
        'launcher write FILE.rank0.jsonl, FILE.rank1.jsonl, …',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='leave out the videos that have a line in the files of --out, of '
        'a run of any number of processes',
    )
    parser.add_argument(
        '--merge',
        action='store_true',
        help='instead of predicting, merge the files of all processes into '
        'that of --out, and compare it with --list if given',
    )
    parser.add_argument(
        '--batch',
        type=positive,
        default=1,
        metavar='N',
        help='views that the model takes at a time, of several videos; all '
        'views of a video at least (default: 1)',
    )
    parser.add_argument(
        '--workers',
        type=positive,
        default=1,
        metavar='N',
        help='decoding processes (default: 1)',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='compute in half precision, fp16 on a GPU and bf16 on a CPU',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='launcher of the processes of a distributed job',
    )
    add_time_limit(parser)
    add_model_options(parser, required=False)
    args = parse_with_demo(parser)
    check_args(parser, args)
    return args


def check_args(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """End with the usage if arguments do not belong together."""
    if not args.merge and not (args.config and args.checkpoint):
        parser.error('expected --config and --checkpoint')
    if not args.merge and not args.videos and args.list is None:
        parser.error('expected VIDEO or --list')
    distributed = args.launcher != 'none'
    if (args.resume or args.merge or distributed) and not args.out:
        parser.error('expected --out with --resume, --merge and a launcher')
    if args.out_dir and (args.resume or distributed):
        # The names of copies depend on the other videos of the run.
        parser.error('expected --out-dir without --resume and a launcher')
    if args.list == '-' and distributed:
        parser.error('expected a file for --list with a launcher, not stdin')


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import torch

from ata_mm.apis import VideoRecognizer, load_config, predict_videos
from ata_mm.cli.console import (
    escape_names,
    hide_log,
    print_error,
    print_message,
    print_result,
    print_summary,
    shorten_warnings,
    stderr_progress,
)
from ata_mm.cli.errors import is_user_error, one_line, user_errors
from ata_mm.cli.library import (
    Process,
    drop_done,
    merge,
    read_list,
    result_files,
)
from ata_mm.cli.outputs import json_line, unique_stems
from ata_mm.cli.result_files import ResultFile
from ata_mm.engine.runner import end_with_parent
from ata_mm.video import FrameSource, Workers, find_videos
from ata_mm.video.files import is_utf8
from ata_mm.video.isolation import Outcome
from ata_mm.visualization.captions import OverlayWriter


def collect(names: list[str]) -> tuple[list[str], list[str]]:
    """Find the video files that arguments name.

    Args:
        names (list[str]): Files, folders and patterns.

    Returns:
        tuple[list[str], list[str]]: The files, and the names without any.
    """
    videos, failed = [], []
    for name in names:
        try:
            videos += find_videos(name)
        except (ValueError, FileNotFoundError) as error:
            print_error(error)
            failed.append(name)
    return list(dict.fromkeys(videos)), failed


def annotated_files(videos: list[str], out_dir: str | None) -> dict[str, Path]:
    """Choose a file for the annotated copy of each video.

    Args:
        videos (list[str]): The videos; their names may be equal.
        out_dir (str, optional): Folder of the copies; None for no copies.

    Returns:
        dict[str, Path]: File of each copy by video.

    Raises:
        ValueError: If a copy would overwrite one of the videos, or the name of
            the folder is not UTF-8, as OpenCV requires.
    """
    if not out_dir:
        return {}
    if not is_utf8(out_dir):
        raise ValueError(
            'Expected a name that is valid UTF-8 for --out-dir, got '
            f'{out_dir!r}. Choose another folder.'
        )
    files = {
        video: Path(out_dir, f'{name}.mp4')
        for video, name in unique_stems(videos).items()
    }
    originals = {osp.realpath(video) for video in videos}
    for file in files.values():
        if osp.realpath(file) in originals:
            raise ValueError(
                f'Expected another folder: --out-dir {out_dir} '
                f'would overwrite {file}.'
            )
    return files


class Copy(NamedTuple):
    """A copy of a video with its labels in every frame.

    Args:
        video (str): The video.
        file (Path): The copy.
        predictions (list[tuple[str, float]]): Labels and scores.
    """

    video: str
    file: Path
    predictions: list[tuple[str, float]]


def annotate(copy: Copy) -> None:
    """Write a copy."""
    with (
        FrameSource(copy.video, is_file='://' not in copy.video) as source,
        OverlayWriter(str(copy.file), source.fps or 25.0) as out,
    ):
        for frame in source:
            out.write(frame, copy.predictions)


def write_whole(copy: Copy, write: Callable[[Copy], None]) -> None:
    """Write a copy, and remove it if writing fails."""
    try:
        write(copy)
    except (ValueError, OSError):
        copy.file.unlink(missing_ok=True)
        raise


def predict(
    recognizer: VideoRecognizer,
    outcome: Outcome,
    topk: int,
    file: Path | None,
    write: Callable[[Copy], None],
) -> dict:
    """Return the line of a video."""
    try:
        predictions = recognizer.rank(outcome.get(), topk)
        entry = dict(
            video=outcome.item,
            labels=[label for label, _ in predictions],
            scores=[score for _, score in predictions],
        )
        if file:
            write_whole(Copy(outcome.item, file, predictions), write)
            entry['annotated'] = str(file)
    except Exception as error:
        message = one_line(error)
        if not is_user_error(error):  # a fault of the program, in one file
            traceback.print_exc()
            message = f'{type(error).__name__}: {message}'
        print_error(message)
        return dict(video=outcome.item, error=message)
    return entry


def choose(
    args: argparse.Namespace, process: Process, videos: list[str]
) -> list[str]:
    """Return the videos of this process that are to be predicted.

    Raises:
        ValueError: If there are predictions of another run.
    """
    listed = read_list(args.list) if args.list else ()
    names = process.share(chain(videos, listed))
    if args.resume:
        return drop_done(names, args.out)
    existing = result_files(args.out) if args.out else []
    if process.world_size > 1:  # others may have started to write
        own = args.out, process.file(args.out)
        existing = [file for file in existing if file in own]
    if existing:
        raise ValueError(
            f'Expected a new file for --out, but {existing[0]} exists. Use '
            '--resume to go on with that run, or choose another name.'
        )
    return names


def find_device(device: str | None, process: Process) -> str | None:
    """Return the device of a process: GPUs are taken in turn."""
    count = torch.cuda.device_count()
    if device is None and process.world_size > 1 and count:
        return f'cuda:{process.local_rank % count}'
    return device


def leave_cores(workers: int) -> None:
    """Leave a core to each decoding process, unless the user decides.

    Threads of the model spin while they wait for one whose core is taken.
    """
    if 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - workers))


def predict_files(args: argparse.Namespace) -> list[str]:
    """Write the line of each video, and return those that failed."""
    process = Process.of(args.launcher)
    if args.launcher == 'pytorch':
        end_with_parent()
    found, failed = collect(args.videos)
    videos = choose(args, process, found)
    total = len(videos) + len(failed)
    files = annotated_files(videos, args.out_dir)
    make_folder(args.out_dir)
    leave_cores(args.workers)
    start = time.monotonic()
    with ExitStack() as stack:
        recognizer = VideoRecognizer(
            load_config(args.config, args.cfg_options),
            args.checkpoint,
            find_device(args.device, process),
            args.views,
            args.amp,
        )
        if args.out:  # not before, or a wrong checkpoint would leave a file
            out = stack.enter_context(ResultFile(process.file(args.out)))
        writer = stack.enter_context(
            Workers(
                annotate, time_limit=args.time_limit, name=attrgetter('video')
            )
        )
        progress = stack.enter_context(
            stderr_progress(disable=process.rank > 0)
        )
        outcomes = predict_videos(
            recognizer, videos, args.batch, args.workers, args.time_limit
        )
        for outcome in progress.track(
            outcomes, total=len(videos), description='Videos'
        ):
            file = files.get(outcome.item)
            entry = predict(recognizer, outcome, args.topk, file, writer)
            if 'error' in entry:
                failed.append(outcome.item)
            if args.out:
                out.write(entry)
            else:
                print_result(json_line(entry))
    seconds = time.monotonic() - start
    if args.out:
        print_message(f'{out.path}: {len(videos)} videos in {seconds:.1f} s')
    if total > 1:
        print_summary(total, failed, 'recognised')
    return failed


def merge_files(args: argparse.Namespace) -> list[str]:
    """Merge the files of all processes, and return the videos that failed."""
    found = merge(args.out, read_list(args.list) if args.list else ())
    failed = found.errors + found.missing
    print_message(
        f'{found.videos} videos in {args.out}, {len(found.errors)} of them '
        f'with errors; {len(found.missing)} of the list are missing'
    )
    print_summary(found.videos + len(found.missing), failed, 'recognised')
    return failed


def main() -> None:
    """Write the labels of each video."""
    args = parse_args()
    print_demo(args)
    hide_log()
    escape_names()
    shorten_warnings()
    with user_errors():
        failed = merge_files(args) if args.merge else predict_files(args)
    sys.exit(1 if failed and args.launcher == 'none' else 0)


if __name__ == '__main__':
    main()
