# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Recognise actions in a long video, a camera or a network stream.

``python tools/predict_stream.py SOURCE --config CONFIG --checkpoint
CHECKPOINT`` slides a window over the frames and prints a line of JSON for
each window, with the times of its frames in the file. The memory does not
depend on the length of the video. Ctrl-C ends the run after the current frame,
with complete files.
"""

import argparse
import math
import os.path as osp
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType

from ata_mm.cli.arguments import (
    add_model_options,
    make_folder,
    parse_length,
    positive,
)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Recognise actions in a window that slides over a video'
    )
    parser.add_argument(
        'source',
        metavar='SOURCE',
        help='a video file, the number of a camera such as 0, or the address '
        'of a stream such as rtsp://…',
    )
    parser.add_argument(
        '--window',
        metavar='LENGTH',
        help='length of a window, in frames (64) or seconds (2.5s); the clip '
        "is spread over it (default: from the config's frame_interval)",
    )
    parser.add_argument(
        '--stride',
        metavar='LENGTH',
        help='distance of neighbouring windows, in frames or seconds '
        '(default: half a window)',
    )
    parser.add_argument(
        '--crops',
        type=int,
        choices=(1, 3, 10),
        help='crops of each frame (default: those of the config)',
    )
    parser.add_argument(
        '--topk',
        type=positive,
        default=5,
        help='maximal number of labels (default: 5)',
    )
    parser.add_argument(
        '--fps',
        type=float,
        help='frames per second, instead of the times in the source',
    )
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='write predictions.jsonl, predictions.csv and overlay.mp4 to '
        'this folder',
    )
    parser.add_argument(
        '--reuse-tolerance',
        type=float,
        default=0.0,
        metavar='TOLERANCE',
        help='reuse the matchings of frames that windows share if their '
        'features agree to this; 1e-5 suits ATATimeSformer with '
        "match_on='content' (default: 0, bitwise: no score changes)",
    )
    add_model_options(parser)
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # --help and wrong options, before imports of seconds

import numpy as np

from ata_mm.apis import StreamRecognizer, VideoRecognizer, load_config
from ata_mm.apis.stream import WindowPrediction
from ata_mm.cli.console import (
    escape_names,
    hide_log,
    print_message,
    print_result,
    shorten_warnings,
    stderr_progress,
)
from ata_mm.cli.errors import user_errors
from ata_mm.cli.outputs import (
    Clock,
    WindowFiles,
    json_line,
    keep_outputs,
    window_entry,
)
from ata_mm.video import FrameSource
from ata_mm.visualization.captions import OverlayWriter

OVERLAY = 'overlay.mp4'
OUTPUTS = (*WindowFiles.NAMES, OVERLAY)


def check_options(args: argparse.Namespace) -> None:
    """Validate the options before any work, and create the folder.

    Raises:
        ValueError: If an option is invalid.
    """
    overlay = args.out_dir and osp.join(args.out_dir, OVERLAY)
    if overlay and osp.realpath(overlay) == osp.realpath(args.source):
        raise ValueError(
            f'Expected another folder: --out-dir {args.out_dir} '
            f'would overwrite {args.source}.'
        )
    make_folder(args.out_dir)


def frame_rate(source: FrameSource, args: argparse.Namespace) -> float:
    """Return the frames per second of the command line or the source.

    Raises:
        ValueError: If neither gives a valid rate.
    """
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(
            'Expected a positive number of frames per second for '
            f'--fps, got {args.fps}.'
        )
    fps = args.fps or source.fps
    if not fps or fps < 0:
        raise ValueError(
            f'Expected --fps, because {args.source} has no known frame rate.'
        )
    return fps


def build(args: argparse.Namespace, fps: float) -> StreamRecognizer:
    """Build the recognizer of the command line."""
    cfg = load_config(args.config, args.cfg_options)
    views = args.crops and f'{args.crops}x1'
    window, stride = (
        length and parse_length(length, fps)
        for length in (args.window, args.stride)
    )
    return StreamRecognizer(
        VideoRecognizer(cfg, args.checkpoint, args.device, views),
        window,
        stride,
        args.topk,
        args.reuse_tolerance,
    )


class Interrupt:
    """Handler that turns the first Ctrl-C or SIGTERM into a request to stop.

    The files are then complete. The second one ends the program.

    Attributes:
        signum (int, optional): The signal that has come. None before.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._note)

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self.signum is not None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def until(self, source: FrameSource) -> Iterator[np.ndarray]:
        """Yield the frames before the request."""
        for frame in source:
            if self.requested:
                return
            yield frame


class Outputs:
    """The outputs of a run: lines on stdout, and files if requested.

    Labels are drawn into the frames after their window, as in a live stream.

    Args:
        stack (ExitStack): Closes the files.
        out_dir (str, optional): Folder of the files; None for no files.
        fps (float): Frames per second.
    """

    def __init__(
        self, stack: ExitStack, out_dir: str | None, fps: float
    ) -> None:
        self.clock = Clock(fps)
        self.windows = 0
        self.frames = 0
        self._labels: list[tuple[str, float]] = []
        self._title = ''
        self._files: WindowFiles | None = None
        self._overlay: OverlayWriter | None = None
        if out_dir:
            path = osp.join(out_dir, OVERLAY)
            self._files = stack.enter_context(WindowFiles(out_dir))
            self._overlay = stack.enter_context(OverlayWriter(path, fps))

    def frame(self, frame: np.ndarray) -> None:
        """Write a frame with the latest prediction."""
        self.frames += 1
        if self._overlay:
            self._overlay.write(frame, self._labels, self._title)

    def window(self, prediction: WindowPrediction) -> None:
        """Write a prediction, and keep it for the next frames."""
        self.windows += 1
        entry = window_entry(prediction, self.clock.span(prediction))
        self._labels = prediction.labels
        self._title = f'{entry["start"]:.1f}–{entry["end"]:.1f} s'
        print_result(json_line(entry))
        if self._files:
            self._files.write(entry)


def run(
    source: FrameSource,
    stream: StreamRecognizer,
    outputs: Outputs,
    interrupt: Interrupt,
    has_times: bool,
) -> None:
    """Recognise windows until the source ends or a signal asks to stop."""
    with stderr_progress() as progress:
        bar = progress.add_task('Frames', total=source.num_frames)
        for frame in interrupt.until(source):
            outputs.clock.tick(source.span if has_times else None)
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
    """Print the predictions of all windows."""
    args = parse_args()
    hide_log()
    escape_names()
    shorten_warnings()
    with user_errors(), ExitStack() as stack:
        check_options(args)
        source = stack.enter_context(FrameSource(args.source))
        fps = frame_rate(source, args)
        stream = build(args, fps)
        if args.out_dir:
            for kept in keep_outputs(args.out_dir, OUTPUTS):
                print_message(f'kept the file of an earlier run as {kept}')
        outputs = Outputs(stack, args.out_dir, fps)
        print_message(stream.describe())
        interrupt = Interrupt()
        start = time.perf_counter()
        run(source, stream, outputs, interrupt, args.fps is None)
        seconds = time.perf_counter() - start
    print_message(
        f'{outputs.windows} windows, {outputs.frames} frames in '
        f'{seconds:.1f} s; {stream.report()}'
    )
    if interrupt.signum is not None:
        cause = 'Ctrl-C' if interrupt.signum == signal.SIGINT else 'SIGTERM'
        print_message(f'stopped by {cause} at {outputs.frames / fps:.1f} s')
        sys.exit(128 + interrupt.signum)


if __name__ == '__main__':
    main()
