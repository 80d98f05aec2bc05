# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""A progress bar that leaves stdout to the results."""
import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def stderr_progress() -> Progress:
    """A bar with counts and times on stderr.

    Where stdout is the same terminal, what is printed scrolls by above the
    bar; where it is a file or a pipe, it goes there as it is.
    """
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=sys.stdout.isatty())
