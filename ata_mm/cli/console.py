# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Progress bars and messages on stderr; stdout is left to the results."""

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SHOWN = 20  # names of failed videos in a summary


class _RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f'{speed:.1f}/s' if speed else '')


def stderr_progress(
    auto_refresh: bool = True, disable: bool = False
) -> Progress:
    """Build a progress bar with counts, rate and times on stderr.

    On a terminal, lines printed to stdout scroll above the bar. A redirected
    stdout receives them unchanged.

    Args:
        auto_refresh (bool): Redraw the bar in a thread. Defaults to True.
        disable (bool): Show nothing. Defaults to False.

    Returns:
        rich.progress.Progress: A context manager.
    """
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=auto_refresh,
        disable=disable,
        redirect_stdout=sys.stdout.isatty(),
    )


@contextmanager
def round_progress(rounds: int) -> Iterator[Callable[[], None]]:
    """Show the progress of a benchmark.

    The bar is redrawn between rounds only: a thread that redraws it would
    take time from the code that is measured.

    Args:
        rounds (int): Number of rounds.

    Yields:
        Callable: To be called after each round.
    """
    with stderr_progress(auto_refresh=False) as progress:
        task = progress.add_task('Rounds', total=rounds)
        yield partial(progress.update, task, advance=1, refresh=True)


def print_message(message: object) -> None:
    """Print a line to stderr.

    Args:
        message (object): Converted with ``str``.
    """
    print(message, file=sys.stderr)


def print_result(text: str) -> None:
    """Print a result to stdout at once.

    Ends the program if nobody reads stdout any more, as ``head`` does.

    Args:
        text (str): One or more lines.

    Raises:
        OSError: If stdout cannot be written, for example to a full disk.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would fail again at its exit, with the text not yet written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        raise OSError(error.errno, error.strerror, '<stdout>') from error


def print_error(error: object) -> None:
    """Print an error to stderr, without a traceback.

    Args:
        error (object): The error or its message.
    """
    print_message(f'error: {error}')


def print_summary(total: int, failed: Sequence[str], verb: str) -> None:
    """Print how many videos succeeded, and name the others, to stderr.

    Args:
        total (int): Number of videos.
        failed (Sequence[str]): Those that failed, of which 20 are named.
        verb (str): Past participle, such as ``'recognised'``.
    """
    print_message(f'{total - len(failed)} of {total} videos {verb}')
    for name in failed[:_SHOWN]:
        print_message(f'  failed: {name}')
    if len(failed) > _SHOWN:
        print_message(f'  failed: {len(failed) - _SHOWN} more')


def escape_names() -> None:
    """Print file names that are not UTF-8 with escapes instead of failing.

    In JSON, the escapes are read back as the name.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def hide_log() -> None:
    """Hide mmengine's log lines below errors.

    Its messages on its own deprecations would appear between the lines of a
    tool.
    """
    MMLogger.get_current_instance().setLevel('ERROR')


def shorten_warnings() -> None:
    """Show warnings in one line each, without their source lines."""
    warnings.showwarning = _show_warning


def _show_warning(message: object, *args: object, **kwargs: object) -> None:
    print_message(f'warning: {message}')
