# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise actions in a long video, a camera or a network stream.

``python tools/predict_stream.py SOURCE --config CONFIG --checkpoint
CHECKPOINT`` slides a window over the frames and prints a line of JSON for
each. Memory does not grow with the length of the video. Ctrl-C ends the run
after the present frame and leaves complete files.
"""
import argparse
import json
import math
import os.path as osp
import signal
import sys
import time
import warnings
from contextlib import ExitStack
from typing import Iterator, Optional

import ata_mm  # noqa: F401  must precede what mmaction2 imports

import numpy as np
from mmengine.logging import MMLogger

from ata_mm.apis import StreamRecognizer, VideoRecognizer, load_config
from ata_mm.apis.stream import parse_length
from ata_mm.cli.launch import add_cfg_options, make_folder, user_errors
from ata_mm.cli.outputs import WindowFiles, window_entry
from ata_mm.cli.progress import stderr_progress
from ata_mm.video.sources import FrameSource
from ata_mm.visualization.captions import OverlayWriter


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Recognise actions in a window that slides over a video')
    parser.add_argument(
        'source',
        metavar='SOURCE',
        help='a video file, the number of a camera such as 0, or the address '
        'of a stream such as rtsp://…')
    parser.add_argument('--config', required=True, help='the config file')
    parser.add_argument(
        '--checkpoint', required=True, help='the trained weights')
    parser.add_argument(
        '--window',
        metavar='LENGTH',
        help='length of a window, in frames (64) or seconds (2.5s); the clip '
        "is spread over it (default: the config's frame_interval)")
    parser.add_argument(
        '--stride',
        metavar='LENGTH',
        help='from one window to the next, likewise (default: half a window)')
    parser.add_argument(
        '--crops',
        type=int,
        choices=(1, 3, 10),
        help="crops of each frame (default: the config's)")
    parser.add_argument(
        '--topk',
        type=int,
        default=5,
        help='how many labels to list (default: 5)')
    parser.add_argument(
        '--fps',
        type=float,
        help='frames a second, where the source does not tell')
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='write predictions.jsonl, predictions.csv and overlay.mp4 there')
    parser.add_argument(
        '--reuse-tolerance',
        type=float,
        default=0.,
        metavar='TOLERANCE',
        help='solve the matchings of frames that windows share once where '
        'their features agree to this; 1e-5 suits ATATimeSformer with '
        "match_on='content' (default: 0, to the bit: no score changes)")
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1, … (default: the GPU if any)')
    add_cfg_options(parser)
    return parser.parse_args()


def check_options(args: argparse.Namespace) -> None:
    """Refuse before any work what would fail after it."""
    if args.topk < 1:
        raise ValueError(f'--topk expects at least 1, got {args.topk}')
    overlay = args.out_dir and osp.join(args.out_dir, 'overlay.mp4')
    if overlay and osp.realpath(overlay) == osp.realpath(args.source):
        raise ValueError(f'--out-dir {args.out_dir} would overwrite '
                         f'{args.source}; choose another folder')
    make_folder(args.out_dir)


def frame_rate(source: FrameSource, args: argparse.Namespace) -> float:
    """Frames a second, of the command line or the source."""
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(f'--fps expects frames a second, got {args.fps}')
    fps = args.fps or source.fps
    if not fps or fps < 0:
        raise ValueError(f'{args.source} does not tell its frame rate; '
                         'expected --fps')
    return fps


def build(args: argparse.Namespace, fps: float) -> StreamRecognizer:
    """The recognizer that the command line asks for."""
    cfg = load_config(args.config, args.cfg_options)
    views = args.crops and f'{args.crops}x1'
    return StreamRecognizer(
        VideoRecognizer(cfg, args.checkpoint, args.device, views), args.window
        and parse_length(args.window, fps), args.stride
        and parse_length(args.stride, fps), args.topk, args.reuse_tolerance)


class Interrupt:
    """Turns the first Ctrl-C into a request; a second one ends the program."""

    def __init__(self) -> None:
        self.requested = False
        signal.signal(signal.SIGINT, self._note)

    def _note(self, *_) -> None:
        self.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def until(self, source: FrameSource) -> Iterator[np.ndarray]:
        """The frames that come before it."""
        for frame in source:
            if self.requested:
                return
            yield frame


class Outputs:
    """Takes each frame and what has been recognised by then.

    A label is written over the frames that follow its window, as in a live
    picture.
    """

    def __init__(self, stack: ExitStack, out_dir: Optional[str],
                 fps: float) -> None:
        self.fps = fps
        self.windows = 0
        self.frames = 0
        self._shown = dict(predictions=[], title='')
        self._files = self._overlay = None
        if out_dir:
            path = osp.join(out_dir, 'overlay.mp4')
            self._files = stack.enter_context(WindowFiles(out_dir))
            self._overlay = stack.enter_context(OverlayWriter(path, fps))

    def frame(self, frame: np.ndarray) -> None:
        """Write a frame."""
        self.frames += 1
        if self._overlay:
            self._overlay.write(frame, **self._shown)

    def window(self, prediction) -> None:
        """Write a prediction, and keep it for the frames to come."""
        self.windows += 1
        entry = window_entry(prediction, self.fps)
        title = f'{entry["start"]:.1f}–{entry["end"]:.1f} s'
        self._shown = dict(predictions=prediction.labels, title=title)
        print(json.dumps(entry, ensure_ascii=False), flush=True)
        if self._files:
            self._files.write(entry)


def say(text: str) -> None:
    """A line to stderr."""
    print(text, file=sys.stderr)


def run(source: FrameSource, stream: StreamRecognizer, outputs: Outputs,
        interrupt: Interrupt) -> None:
    """Recognise to the end of the source or to Ctrl-C."""
    with stderr_progress() as progress:
        bar = progress.add_task('Frames', total=source.num_frames)
        for frame in interrupt.until(source):
            prediction = stream.push(frame)
            if prediction:
                outputs.window(prediction)
            outputs.frame(frame)
            progress.advance(bar)
    if not interrupt.requested:
        prediction = stream.finish()
        if prediction:
            outputs.window(prediction)


def main() -> None:
    """Recognise as the command line says."""
    args = parse_args()
    # mmengine's notes on its own deprecations would get between the lines.
    MMLogger.get_current_instance().setLevel('ERROR')
    warnings.showwarning = lambda message, *where: say(f'warning: {message}')
    with ExitStack() as stack:
        with user_errors():
            check_options(args)
            source = stack.enter_context(FrameSource(args.source))
            fps = frame_rate(source, args)
            stream = build(args, fps)
        say(stream.describe())
        interrupt = Interrupt()
        outputs = Outputs(stack, args.out_dir, fps)
        start = time.perf_counter()
        with user_errors():
            run(source, stream, outputs, interrupt)
        seconds = time.perf_counter() - start
    say(f'{outputs.windows} windows, {outputs.frames} frames in '
        f'{seconds:.1f} s; {stream.report()}')
    if interrupt.requested:
        say(f'stopped by Ctrl-C at {outputs.frames / fps:.1f} s')
        sys.exit(130)


if __name__ == '__main__':
    main()
