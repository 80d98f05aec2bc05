# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in video files.

``python tools/predict.py VIDEO … --config CONFIG --checkpoint CHECKPOINT``
prints a line of JSON for each video, with labels and scores, best first.
Everything else is printed to stderr. Files that are not videos are reported
and skipped; the exit status is then 1. Files are read in another process: one
that crashes its decoder costs its own line only.
"""

import argparse
import os.path as osp
import sys
from operator import attrgetter
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from ata_mm.cli.arguments import (
    add_model_options,
    add_time_limit,
    make_folder,
)
from ata_mm.cli.demo import parse_with_demo, print_demo


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Recognise the action in video files'
    )
    parser.add_argument(
        'videos',
        nargs='+',
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
        type=int,
        default=5,
        help='maximal number of labels (default: 5)',
    )
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='write a copy of each video with its labels to this folder',
    )
    add_time_limit(parser)
    add_model_options(parser)
    return parse_with_demo(parser)


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.cli.console import (
    escape_names,
    hide_log,
    print_error,
    print_result,
    print_summary,
    shorten_warnings,
    stderr_progress,
)
from ata_mm.cli.errors import is_user_error, one_line, user_errors
from ata_mm.cli.outputs import json_line, unique_stems
from ata_mm.video import FrameSource, Workers, find_videos
from ata_mm.video.isolation import Outcome
from ata_mm.visualization.captions import OverlayWriter


def collect(names: List[str]) -> Tuple[List[str], List[str]]:
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


def annotated_files(
    videos: List[str], out_dir: Optional[str]
) -> Dict[str, Path]:
    """Choose a file for the annotated copy of each video.

    Args:
        videos (list[str]): The videos; their names may be equal.
        out_dir (str, optional): Folder of the copies; None for no copies.

    Returns:
        dict[str, Path]: File of each copy by video.

    Raises:
        ValueError: If a copy would overwrite one of the videos.
    """
    if not out_dir:
        return {}
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
    predictions: List[Tuple[str, float]]


def annotate(copy: Copy) -> None:
    """Write a copy."""
    with FrameSource(copy.video) as source, OverlayWriter(
        str(copy.file), source.fps or 25.0
    ) as out:
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
    sample: Outcome,
    topk: int,
    file: Optional[Path],
    write: Callable[[Copy], None],
) -> bool:
    """Recognise a video, print its line, and return the success."""
    try:
        scores = recognizer.score(sample.get())
        predictions = recognizer.rank(scores, topk)
        entry = dict(
            video=sample.item,
            labels=[label for label, _ in predictions],
            scores=[score for _, score in predictions],
        )
        if file:
            write_whole(Copy(sample.item, file, predictions), write)
            entry['annotated'] = str(file)
    except (ValueError, OSError) as error:
        if not is_user_error(error):
            raise
        print_error(one_line(error))
        return False
    print_result(json_line(entry))
    return True


def main() -> None:
    """Print the labels of each video."""
    args = parse_args()
    print_demo(args)
    hide_log()
    escape_names()
    shorten_warnings()
    with user_errors():
        if args.topk < 1:
            raise ValueError(
                f'Expected --topk of at least 1, got {args.topk}.'
            )
        videos, failed = collect(args.videos)
        files = annotated_files(videos, args.out_dir)
        make_folder(args.out_dir)
        cfg = load_config(args.config, args.cfg_options)
        recognizer = VideoRecognizer(
            cfg, args.checkpoint, args.device, args.views
        )
    total = len(videos) + len(failed)
    reader = Workers(recognizer.read, time_limit=args.time_limit)
    writer = Workers(
        annotate, time_limit=args.time_limit, name=attrgetter('video')
    )
    with user_errors(), reader, writer, stderr_progress() as progress:
        samples = reader.imap(videos)
        for sample in progress.track(
            samples, total=len(videos), description='Videos'
        ):
            file = files.get(sample.item)
            if not predict(recognizer, sample, args.topk, file, writer):
                failed.append(sample.item)
    if total > 1:
        print_summary(total, failed, 'recognised')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
