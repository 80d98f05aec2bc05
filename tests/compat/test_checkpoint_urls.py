# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import os
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
import torch
from mmengine.runner import CheckpointLoader, checkpoint

from ata_mm.compat import checkpoint_urls


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Foreign:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return os.getcwd, ()


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The URL of tmp_path on a local server."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    server = HTTPServer(
        ('127.0.0.1', 0), partial(QuietHandler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


def test_foreign_code_is_refused(tmp_path, url):
    torch.save(Foreign(), tmp_path / 'bad.pth')
    with pytest.raises(ValueError, match='bad.pth, got posix.getcwd'):
        CheckpointLoader.load_checkpoint(f'{url}/bad.pth', 'cpu')


def test_weights_are_read(tmp_path, url):
    torch.save(dict(weight=torch.ones(2)), tmp_path / 'good.pth')
    loaded = CheckpointLoader.load_checkpoint(f'{url}/good.pth', 'cpu')
    assert torch.equal(loaded['weight'], torch.ones(2))


def test_second_call_changes_nothing():
    before = checkpoint.load_url
    checkpoint_urls.apply()
    assert not checkpoint_urls.needed()
    assert checkpoint.load_url is before
