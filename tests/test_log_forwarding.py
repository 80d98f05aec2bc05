# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import logging

from ata_mm import log_forwarding


def test_what_ops_says_reaches_the_log_of_the_run(monkeypatch):
    said = []
    monkeypatch.setattr(log_forwarding, 'print_log', lambda *args: said.append(args))
    log_forwarding.forward_logs()  # again, as with a second import
    logging.getLogger('ata_mm.ops.somewhere').info('%d patches', 9)
    assert said == [('9 patches', 'current', logging.INFO)]
