# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from typing import NamedTuple

OK, WARNING, FAULT = 'ok', 'warning', 'fault'


class Finding(NamedTuple):
    """One line of the doctor.

    Args:
        status (str): 'ok'; 'warning', where something may not work as
            expected; or 'fault', where something does not work.
        subject (str): What was looked at.
        detail (str): What was found.
        advice (str): What to do. Defaults to '', nothing.
    """
    status: str
    subject: str
    detail: str
    advice: str = ''
