# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import errno
import logging
import os
import signal
import warnings

import pytest
from mmengine.logging import MMLogger

from ata_mm.cli.console import (
    hide_log,
    print_error,
    print_result,
    print_summary,
    round_progress,
    shorten_warnings,
    stderr_progress,
)


def test_bar_leaves_stdout_to_the_results(capsys):
    with stderr_progress() as progress:
        for i in progress.track(range(2), description='Videos'):
            print(i)
    printed = capsys.readouterr()
    assert printed.out == '0\n1\n'
    assert 'Videos' in printed.err and '2/2' in printed.err


def test_rounds_are_counted(capsys):
    with round_progress(3) as advance:
        for _ in range(3):
            advance()
    assert '3/3' in capsys.readouterr().err


def test_errors_are_one_line_on_stderr(capsys):
    print_error(ValueError('Expected a video file.'))
    assert capsys.readouterr() == ('', 'error: Expected a video file.\n')


def test_summary_names_the_failed(capsys):
    print_summary(3, ['b.mp4'], 'recognised')
    lines = capsys.readouterr().err.splitlines()
    assert lines == ['2 of 3 videos recognised', '  failed: b.mp4']


def test_warnings_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(warnings, 'showwarning', warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        shorten_warnings()
        warnings.warn('few frames', stacklevel=1)
    assert capsys.readouterr().err == 'warning: few frames\n'


@pytest.fixture
def logger():
    """The current logger, with its level restored after the test."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_log_is_hidden_below_errors(logger):
    hide_log()
    assert logger.level == logging.ERROR


def test_a_full_disk_under_stdout_is_named(monkeypatch):
    with open('/dev/full', 'w') as full:
        monkeypatch.setattr('sys.stdout', full)
        with pytest.raises(OSError, match='<stdout>') as caught:
            print_result('a')
    assert caught.value.errno == errno.ENOSPC


def test_a_reader_that_ends_ends_the_program(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, 'w') as pipe, pytest.raises(SystemExit) as end:
        monkeypatch.setattr('sys.stdout', pipe)
        print_result('a')
    assert end.value.code == 128 + signal.SIGPIPE
