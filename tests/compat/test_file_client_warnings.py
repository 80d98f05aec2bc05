# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
from mmengine.fileio import FileClient, file_client

from ata_mm.compat import file_client_warnings


@pytest.fixture
def messages(monkeypatch):
    """The messages that reach the log."""
    found = []
    monkeypatch.setattr(
        file_client_warnings,
        'print_log',
        lambda message, **options: found.append(message),
    )
    return found


def test_a_file_client_is_quiet(messages):
    FileClient('disk')
    assert not messages


def test_without_the_shim_it_is_not(messages, monkeypatch):
    monkeypatch.setattr(
        file_client, 'print_log', file_client_warnings.print_log
    )
    FileClient('disk')
    assert messages and file_client_warnings.needed()


def test_other_messages_are_logged(messages):
    file_client.print_log('The disk is full.', logger='current')
    assert messages == ['The disk is full.']


def test_training_logs_no_deprecation(work_dir):
    logs = [log.read_text() for log in work_dir.rglob('*.log')]
    assert logs and 'will be deprecated' not in ''.join(logs)
