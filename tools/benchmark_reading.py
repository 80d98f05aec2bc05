# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Time the reading of videos: ``python tools/benchmark_reading.py [VIDEO …]``.

Runs the validation pipeline of Kinetics-400 (8 frames, one in 8, of 224 x 224
pixels) on each video, round after round in one process: as MMAction2 does with
decord, with each decoder of ``VideoInit``, and as our training and prediction
do with their guards. Prints medians, and the medians of the ratios within each
round, as a Markdown table for each video. A time is that of ``--clips`` clips,
one after another; of prediction with the start of its process. Without videos,
it makes H.264 clips of 320 x 240 and 1280 x 720 pixels.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from ata_mm.cli.arguments import add_timing_options, positive


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Time the reading of videos')
    parser.add_argument('videos', nargs='*', metavar='VIDEO')
    parser.add_argument(
        '--frames',
        type=positive,
        default=250,
        help='frames of a made clip (250)',
    )
    parser.add_argument(
        '--clips',
        type=positive,
        default=16,
        help='number of clips that are read in a row (16)',
    )
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='time on the CPU of this process, which other programs disturb '
        'less; without prediction, which reads in another process',
    )
    add_timing_options(parser, rounds=20)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import av
import cv2
import numpy as np
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from ata_mm.cli.console import hide_log, round_progress
from ata_mm.cli.errors import user_errors
from ata_mm.cli.timing import paired_times, ratio_table
from ata_mm.engine.bad_videos import Journal, NotingPipeline
from ata_mm.video import FilePipeline, VideoError, Workers, open_video

Step = dict | Callable
_TIME_LIMIT = 300.0
SIZES = ((320, 240), (1280, 720))


def make_video(path: Path, size: tuple[int, int], frames: int) -> None:
    """Write an H.264 clip of a texture that moves, as phones and sites do."""
    width, height = size
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    scene = cv2.resize(noise, (2 * width, 2 * height))
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for number in range(frames):
            left, top = 3 * number % width, 2 * number % height
            view = scene[top : top + height, left : left + width]
            pixels = np.ascontiguousarray(view, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def steps(init: Step, decode: Step) -> list[Step]:
    """Return the pipeline with the given transforms of a decoder."""
    sample = dict(
        type='SampleFrames',
        clip_len=8,
        frame_interval=8,
        num_clips=1,
        test_mode=True,
    )
    return [
        init,
        sample,
        decode,
        dict(type='Resize', scale=(-1, 256)),
        dict(type='CenterCrop', crop_size=224),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]


def stock_steps() -> list[Step]:
    """Return the pipeline with the transforms of MMAction2 as released."""
    init, decode = DecordInit(), DecordDecode()
    load = type(decode)._decord_load_frames.__wrapped__
    stock = SimpleNamespace(
        _decord_load_frames=partial(load, decode), mode='accurate'
    )
    return steps(
        lambda results: type(init).transform.__wrapped__(init, results),
        lambda results: DecordDecode.transform(stock, results),
    )


def pipelines(folder: Path) -> dict[str, Callable]:
    """Return the pipelines that run in this process, by name."""
    decode = dict(type='VideoDecode')
    found: dict[str, Callable] = {'MMAction2, decord': Compose(stock_steps())}
    for decoder in ('decord', 'pyav', 'opencv', 'auto'):
        found[decoder] = FilePipeline(
            steps(dict(type='VideoInit', decoder=decoder), decode)
        )
    found['training, auto'] = NotingPipeline(
        steps(dict(type='VideoInit'), decode),
        Journal(str(folder / 'notes'), 0, 1, _TIME_LIMIT),
        skip=False,
    )
    return found


def read_sample(read: Callable, video: str) -> dict:
    """Run a pipeline on what a data set passes to it."""
    return read(dict(filename=video, label=0, start_index=0, modality='RGB'))


def read_clips(read: Callable, video: str, number: int) -> None:
    """Read a clip again and again."""
    for _ in range(number):
        read_sample(read, video)


def predict_clips(read: Callable, video: str, number: int) -> None:
    """Read a clip again and again as ``tools/predict.py`` does."""
    read = partial(read_sample, read)
    with Workers(read, time_limit=_TIME_LIMIT, ahead=2) as workers:
        for outcome in workers.imap([video] * number):
            outcome.get()


def is_readable(read: Callable, video: str) -> bool:
    """Return whether a pipeline can read a video."""
    try:
        read_sample(read, video)
    except VideoError:
        return False
    return True


def alternatives(
    pipelines: dict[str, Callable], video: str, number: int
) -> dict[str, Callable]:
    """Return what is timed, by name: the ways that can read a video."""
    found: dict[str, Callable] = {
        name: partial(read_clips, read, video, number)
        for name, read in pipelines.items()
        if is_readable(read, video)
    }
    auto = pipelines['auto']
    found['prediction, auto'] = partial(predict_clips, auto, video, number)
    return found


def main() -> None:
    """Print a table for each video."""
    args = parse_args()
    hide_log()
    init_default_scope('mmaction')
    if args.threads:
        cv2.setNumThreads(args.threads)
    with ExitStack() as stack, user_errors():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        videos = list(args.videos)
        for width, height in () if videos else SIZES:
            path = folder / f'{width}x{height}.mp4'
            make_video(path, (width, height), args.frames)
            videos.append(str(path))
        ways = pipelines(folder)
        for video in videos:
            open_video(video).close()  # says what is wrong with the file
            functions = alternatives(ways, video, args.clips)
            clock = time.perf_counter
            if args.cpu_time:
                clock = time.process_time
                del functions['prediction, auto']
            with round_progress(args.rounds) as advance:
                times = paired_times(functions, args.rounds, advance, clock)
            print(f'{Path(video).name}\n\n{ratio_table(times)}\n')


if __name__ == '__main__':
    main()
