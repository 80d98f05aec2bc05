# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import logging

from ata_mm import log_forwarding


def test_messages_of_ops_are_logged_once_by_mmengine(monkeypatch):
    logged = []
    monkeypatch.setattr(
        log_forwarding, 'print_log', lambda *args: logged.append(args)
    )
    log_forwarding.forward_logs()  # a second handler would log it twice
    logging.getLogger('ata_mm.ops.somewhere').info('%d patches', 9)
    assert logged == [('9 patches', 'current', logging.INFO)]
