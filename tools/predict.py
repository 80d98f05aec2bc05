# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise the action in video files.

``python tools/predict.py VIDEO … --config CONFIG --checkpoint CHECKPOINT``
prints a line of JSON for each video, its labels and scores, the best first.
Everything else goes to stderr. Files that are no videos are named and passed
over; the exit status is then 1.
"""
import argparse
import json
import os.path as osp
import sys
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import ata_mm  # noqa: F401  must precede what mmaction2 imports

from mmengine.logging import MMLogger

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.cli.launch import add_cfg_options, make_folder, user_errors
from ata_mm.cli.progress import stderr_progress
from ata_mm.video.files import find_videos
from ata_mm.video.sources import FrameSource
from ata_mm.visualization.captions import OverlayWriter


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Recognise the action in video files')
    parser.add_argument(
        'videos',
        nargs='+',
        metavar='VIDEO',
        help='files, folders, or patterns such as "clips/**/*.mp4"')
    parser.add_argument('--config', required=True, help='the config file')
    parser.add_argument(
        '--checkpoint', required=True, help='the trained weights')
    parser.add_argument(
        '--views',
        metavar='CROPSxCLIPS',
        help='crops of a frame (1, 3 or 10) times clips of the video, such as '
        "3x1; they go through the model in one batch (default: the config's)")
    parser.add_argument(
        '--topk',
        type=int,
        default=5,
        help='how many labels to list (default: 5)')
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='write each video there as an mp4 file with its labels on it')
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1, … (default: the GPU if any)')
    add_cfg_options(parser)
    return parser.parse_args()


def complain(error: Exception) -> None:
    """Say in one line what is wrong with a video."""
    print(f'error: {error}', file=sys.stderr)


def collect(names: List[str]) -> Tuple[List[str], List[str]]:
    """The video files that are meant, and the names that mean none."""
    videos, failed = [], []
    for name in names:
        try:
            videos += find_videos(name)
        except (ValueError, FileNotFoundError) as error:
            complain(error)
            failed.append(name)
    return list(dict.fromkeys(videos)), failed


def annotated_files(videos: List[str],
                    out_dir: Optional[str]) -> Dict[str, Path]:
    """Where the annotated copy of each video goes, each to a file of its own.

    Raises:
        ValueError: If one of them is one of the videos.
    """
    files: Dict[str, Path] = {}
    for video in videos if out_dir else []:
        stem, number = Path(video).stem, 1
        while (file := Path(out_dir, f'{stem}.mp4')) in files.values():
            number += 1
            stem = f'{Path(video).stem}_{number}'
        files[video] = file
    originals = {osp.realpath(video) for video in videos}
    for file in files.values():
        if osp.realpath(file) in originals:
            raise ValueError(f'--out-dir {out_dir} would overwrite {file}; '
                             'choose another folder')
    return files


def annotate(video: str, file: Path, predictions: list) -> None:
    """Write a copy of a video with its labels on every frame."""
    with FrameSource(video) as source:
        with OverlayWriter(str(file), source.fps or 25.) as out:
            for frame in source:
                out.write(frame, predictions)


def predict(recognizer: VideoRecognizer, video: str, topk: int,
            file: Optional[Path]) -> bool:
    """Recognise one video and print its line; returns whether it went well."""
    try:
        predictions = recognizer(video, topk)
        entry = dict(
            video=video,
            labels=[label for label, _ in predictions],
            scores=[score for _, score in predictions])
        if file:
            annotate(video, file, predictions)
            entry['annotated'] = str(file)
    except (ValueError, OSError) as error:
        complain(error)
        return False
    print(json.dumps(entry, ensure_ascii=False), flush=True)
    return True


def show_warning(message: Warning, *where) -> None:
    """A warning in one line, without the line of code it comes from."""
    print(f'warning: {message}', file=sys.stderr)


def summarise(total: int, failed: List[str]) -> None:
    """Say how many videos went well, and name the others."""
    lines = [f'{total - len(failed)} of {total} videos recognised']
    lines += [f'  failed: {name}' for name in failed]
    print('\n'.join(lines), file=sys.stderr)


def main() -> None:
    """Recognise as the command line says."""
    args = parse_args()
    # mmengine's notes on its own deprecations would get between the lines.
    MMLogger.get_current_instance().setLevel('ERROR')
    with user_errors():
        if args.topk < 1:
            raise ValueError(f'--topk expects at least 1, got {args.topk}')
        videos, failed = collect(args.videos)
        files = annotated_files(videos, args.out_dir)
        make_folder(args.out_dir)
        cfg = load_config(args.config, args.cfg_options)
        recognizer = VideoRecognizer(cfg, args.checkpoint, args.device,
                                     args.views)
    total = len(videos) + len(failed)
    warnings.showwarning = show_warning
    with stderr_progress() as progress:
        for video in progress.track(videos, description='Videos'):
            if not predict(recognizer, video, args.topk, files.get(video)):
                failed.append(video)
    if total > 1:
        summarise(total, failed)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
