# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""``python -m ata_mm doctor`` checks the machine and its packages."""
import argparse
import sys
from collections import Counter

from mmengine.logging import MMLogger
from rich.console import Console
from rich.text import Text

from ata_mm.doctor import Finding, examine
from ata_mm.doctor.finding import FAULT, OK, WARNING

_COLOURS = {OK: 'green', WARNING: 'yellow', FAULT: 'red'}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m ata_mm', description='ATA for MMAction2')
    commands = parser.add_subparsers(
        dest='command', required=True, metavar='COMMAND')
    commands.add_parser(
        'doctor',
        help='check packages, shims, GPU, decoder, solver, and a small model; '
        'exit status 1 where something does not work')
    return parser.parse_args()


def line(finding: Finding) -> Text:
    """A finding in one line."""
    text = f'{finding.subject}: {finding.detail}'
    if finding.advice:
        text += f'; {finding.advice}'
    colour = _COLOURS[finding.status]
    return Text.assemble((f'{finding.status:8}', colour), text)


def doctor() -> int:
    """Print all findings and their sum; returns the exit status."""
    MMLogger.get_current_instance().setLevel('ERROR')
    console = Console(soft_wrap=True)
    counts = Counter()
    for finding in examine():
        console.print(line(finding), highlight=False)
        counts[finding.status] += 1
    console.print(f'faults: {counts[FAULT]}, warnings: {counts[WARNING]}')
    return 1 if counts[FAULT] else 0


def main() -> None:
    """Do what the command line says."""
    parse_args()
    sys.exit(doctor())


if __name__ == '__main__':
    main()
