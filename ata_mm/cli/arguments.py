# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Command line options that tools share."""

import argparse
import math
import os
from tempfile import TemporaryFile

from mmengine.config import DictAction

SEEDS = 2**32  # NumPy takes those below


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        type=_assignment,
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config, for example '
        'train_dataloader.batch_size=4; a list is written as key="[a,b]" or '
        'key=a,b, without white space',
    )


def cfg_option_words(options: dict[str, object] | None) -> list[str]:
    """Return the words of ``--cfg-options`` on a command line.

    Args:
        options (dict[str, object], optional): The settings, as a tool with
            :func:`add_cfg_options` has parsed them.

    Returns:
        list[str]: The option and its values; none without settings.
    """
    words = [f'{key}={_word(value)}' for key, value in (options or {}).items()]
    return ['--cfg-options', *words] if words else []


def _word(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f'[{",".join(map(_word, value))}]'
    return str(value)


def add_model_options(
    parser: argparse.ArgumentParser, required: bool = True
) -> None:
    """Add the options of a tool that runs a trained model.

    They are ``--config``, ``--checkpoint``, ``--device`` and
    ``--cfg-options``.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
        required (bool): Whether the tool always needs a model. Defaults to
            True.
    """
    parser.add_argument('--config', required=required, help='the config file')
    parser.add_argument(
        '--checkpoint', required=required, help='the trained weights'
    )
    add_device_option(parser)
    add_cfg_options(parser)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--device``.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1, … (default: the GPU if any)'
    )


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--time-limit`` of tools that read video files.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        '--time-limit',
        type=_seconds,
        default=300.0,
        metavar='SECONDS',
        help='skip a file that is not read within this time (default: 300)',
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that training and testing share.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        '--work-dir',
        help='directory of logs and results (default: '
        "the config's work_dir, or work_dirs/<config name>)",
    )
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='launcher of the processes of a distributed job',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


#: Options of a fine-tuning that its config depends on.
FINETUNE_DEFAULTS: dict[str, object] = dict(
    epochs=None,
    checkpoint=None,
    temporal='ATA',
    frames=8,
    img_size=None,
    batch_size=8,
    seed=0,
    val_share=0.2,
)


def add_finetune_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`~ata_mm.cli.finetune.finetune`.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
    """
    parser.add_argument(
        'data',
        nargs='+',
        metavar='DATA',
        help='a folder with a folder of videos for each class; a CSV with the '
        'columns path and label, optionally split; or one or two list files '
        '(train, val) with lines of path and label',
    )
    parser.add_argument(
        '--backbone',
        required=True,
        metavar='NAME',
        help='ATATimeSformer-{micro,tiny,small,base}, ATAConvNeXt-{tiny,…}, '
        'ATACycleMLP-{b1,…}, or a model of timm, torchvision or mmpretrain, '
        'such as timm.convnext_tiny',
    )
    parser.add_argument(
        '--work-dir',
        help='folder of the config, lists and results (default: '
        'work_dirs/DATA_BACKBONE)',
    )
    parser.add_argument(
        '--epochs',
        type=positive,
        help='default: 10 with pretrained weights, 30 without',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='FILE|URL|none',
        help='weights of the backbone; none to start at random (default: '
        'those that its authors have published)',
    )
    parser.add_argument(
        '--temporal',
        choices=['ATA', 'TemporalAttention', 'TemporalAveraging'],
        help='the temporal module (default: ATA)',
    )
    parser.add_argument(
        '--frames', type=positive, help='frames per clip (default: 8)'
    )
    parser.add_argument(
        '--img-size',
        type=positive,
        help='height and width of the frames (default: those of the weights)',
    )
    parser.add_argument(
        '--batch-size', type=positive, help='clips per step (default: 8)'
    )
    parser.add_argument(
        '--seed',
        type=seed,
        help='random seed of the split and the training (default: 0)',
    )
    parser.add_argument(
        '--val-share',
        type=float,
        help='share of the videos of each class to validate and test, unless '
        'the data are split (default: 0.2)',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='write the config and stop'
    )
    parser.set_defaults(**FINETUNE_DEFAULTS)
    add_cfg_options(parser)


def add_timing_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add the options of a benchmark, ``--rounds`` and ``--threads``.

    Args:
        parser (ArgumentParser): The parser of a tool, changed in place.
        rounds (int): Default of ``--rounds``.
    """
    parser.add_argument(
        '--rounds',
        type=positive,
        default=rounds,
        help=f'number of timed rounds ({rounds})',
    )
    parser.add_argument(
        '--threads',
        type=positive,
        help="number of CPU threads (default: torch's choice)",
    )


def seed(text: str) -> int:
    """Parse an option that is a random seed.

    Args:
        text (str): The value on the command line.

    Returns:
        int: The number.

    Raises:
        ArgumentTypeError: If it is something else.
    """
    if not text.isdecimal() or int(text) >= SEEDS:
        raise argparse.ArgumentTypeError(
            f'expected an integer in 0..2**32-1, got {text!r}'
        )
    return int(text)


def positive(text: str) -> int:
    """Parse an option that is an integer of at least 1.

    Args:
        text (str): The value on the command line.

    Returns:
        int: The number.

    Raises:
        ArgumentTypeError: If it is something else.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f'expected an integer of at least 1, got {text!r}'
        )
    return number


def parse_length(text: str, fps: float) -> int:
    """Convert a length of time to frames.

    Args:
        text (str): Frames, such as '64', or seconds, such as '2.5s'.
        fps (float): Frames a second.

    Returns:
        int: Number of frames.

    Raises:
        ValueError: If the text is neither.
    """
    try:
        if text.endswith('s'):
            return round(float(text[:-1]) * fps)
        return int(text)
    except (ValueError, OverflowError):
        raise ValueError(
            'Expected a number of frames such as 64, or of '
            f'seconds such as 2.5s, got {text!r}.'
        ) from None


def make_folder(path: str | None, option: str = '--out-dir') -> None:
    """Create the folder of an option, before any work.

    Args:
        path (str, optional): The folder; None to create nothing.
        option (str): The option, for messages. Defaults to '--out-dir'.

    Raises:
        ValueError: If the folder cannot be created or written to.
    """
    if not path:
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f'Expected a folder for {option}, but {path} cannot be created: '
            f'{error.strerror}.'
        ) from error
    try:
        with TemporaryFile(dir=path):  # root has permissions everywhere
            pass
    except OSError as error:
        raise ValueError(
            f'Expected a folder for {option} that can be written to, got '
            f'{path}: {error.strerror}. Choose another one or change its '
            'permissions.'
        ) from error


def make_folder_of(path: str | None, option: str) -> None:
    """Create the folder of a file that an option names, before any work.

    Args:
        path (str, optional): The file; nothing is created for None, and for
            the address of a remote file, which mmengine writes.
        option (str): The option, for messages.

    Raises:
        ValueError: If the folder cannot be created or written to, or the file
            is a folder.
    """
    if path is None or '://' in path:
        return
    make_folder(os.path.dirname(os.path.abspath(path)), option)
    if os.path.isdir(path):
        raise ValueError(
            f'Expected a file for {option}, got the folder {path}.'
        )


def _seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(
            f'expected a positive number of seconds, got {text!r}'
        )
    return seconds


def _assignment(text: str) -> str:
    """Validate one word of ``--cfg-options``, which DictAction splits."""
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'expected KEY=VALUE, got {text!r}')
    return text
