# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Report errors of users in one line, and leave other errors as they are."""

import errno
import logging
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]
from types import TracebackType
from typing import Any

from mmengine.logging import MMLogger
from mmengine.registry import build_from_cfg

from ata_mm.apis.config_keys import suggest

# Installed packages whose own raise statements report configs, options and
# files, as those of code outside of the installed packages do.
_PACKAGES = re.compile(
    r'(ata_mm|mmaction|mmcv|mmengine|torch\.(optim|utils))(\.|$)'
)
_HOST = re.compile(r'(mmaction|mmcv|mmengine)(\.|$)')
_INSTALLED = tuple(
    sysconfig.get_path(name) for name in ('stdlib', 'purelib', 'platlib')
)
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CONFIG_ERRORS = (AssertionError, KeyError, NotImplementedError, TypeError)


@contextmanager
def user_errors() -> Iterator[None]:
    """Report user errors in one line and exit with status 1.

    Errors that :func:`is_user_error` does not know keep their traceback. That
    of a user error is written to the log file of the run, if there is one.

    Raises:
        SystemExit: With the name of the tool and the message.
    """
    try:
        yield
    except Exception as error:
        if not is_user_error(error):
            raise
        if not is_full_disk(error.__cause__ or error):
            _log_traceback(error)
        # Of `python -m ata_mm`, the path ends with the name of the package.
        tool = os.path.basename(sys.argv[0].removesuffix('/__main__.py'))
        sys.exit(f'{tool}: error: {one_line(error)}')


def is_user_error(error: Exception) -> bool:
    """Return whether an error reports a fault that the user can mend.

    These are an OSError, which concerns a file; a ValueError, or an
    ImportError for want of a package, by a raise statement of this package,
    OpenMMLab, torch's optimizers and data loaders or the user's own code,
    unlike one by Python or NumPy, which is a fault of the program; and an
    error of any type that refuses the arguments of a config while a part is
    built.

    Args:
        error (Exception): The error, with its traceback.

    Returns:
        bool: Whether to report it in one line.
    """
    if isinstance(error, OSError):
        return True
    if isinstance(error, (ValueError, ImportError)) and _is_raised(error):
        return True
    if not isinstance(error, (ValueError, *_CONFIG_ERRORS)):
        return False
    refused = _is_raised(error) or _refuses_arguments(error)
    if _in_registry(error):  # int('two') in OpenMMLab is a fault of the config
        return refused or _HOST.match(_module(error)) is not None
    return refused and _module(error).startswith('mmengine.runner')


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error is due to a full disk, a quota or a limit."""
    return isinstance(error, OSError) and error.errno in _DISK_IS_FULL


def one_line(error: Exception) -> str:
    """Return the message of an error without line breaks.

    Args:
        error (Exception): The error. Of one that a worker process of a data
            loader has passed on, the last line is the message.

    Returns:
        str: The message.
    """
    # str of a KeyError is a repr.
    message = str(error.args[0] if isinstance(error, KeyError) else error)
    if _from_worker(message):
        message = message.strip().splitlines()[-1].split(': ', 1)[-1]
    refused = re.search(r"unexpected keyword argument '(\w+)'", message)
    if refused:
        message += f'.{suggest(refused[1], _built_class(error))}'
    if is_full_disk(error):
        message += '. Make room on its disk and start again.'
    if not message and _built_class(error):
        message = (
            f'{_built_class(error).__name__} refuses its settings in the '
            f'config ({type(error).__name__})'
        )
    return ' '.join(message.split()) or type(error).__name__


def _traceback(error: Exception) -> list[TracebackType]:
    found, step = [], error.__traceback__
    while step is not None:
        found.append(step)
        step = step.tb_next
    return found


def _remote_traceback(error: Exception) -> str:
    """Return the text of the traceback in a worker process, or ''."""
    if isinstance(error.__cause__, RemoteTraceback):
        return error.__cause__.tb
    return str(error) if _from_worker(str(error)) else ''


def _is_raised(error: Exception) -> bool:
    """Return whether a raise statement of a known package made an error."""
    trace = _remote_traceback(error)
    trace = trace or ''.join(traceback.format_tb(error.__traceback__))
    steps = re.findall(r'File "(.+)", line \d+, in .+\n\s+(.*)', trace)
    if not steps:
        return False
    file, code = steps[-1]
    if not code.startswith('raise '):
        return False
    folders = [folder for folder in _INSTALLED if file.startswith(folder)]
    if not folders:
        return True
    # Outside of virtual environments, packages lie below the standard library.
    module = os.path.relpath(file, max(folders, key=len))
    return _PACKAGES.match(module.replace(os.sep, '.')) is not None


def _module(error: Exception) -> str:
    """Return the name of the module in which an error arose."""
    names = [s.tb_frame.f_globals.get('__name__') for s in _traceback(error)]
    return names[-1] or '' if names else ''


def _in_registry(error: Exception) -> bool:
    codes = [step.tb_frame.f_code for step in _traceback(error)]
    return build_from_cfg.__code__ in codes


def _built_class(error: Exception) -> Any:
    """Return the class that a registry was building, None if it was not."""
    frames = [step.tb_frame for step in _traceback(error)]
    built = [f for f in frames if f.f_code is build_from_cfg.__code__]
    return built[-1].f_locals.get('obj_cls') if built else None


def _refuses_arguments(error: Exception) -> bool:
    message = str(error)
    return isinstance(error, TypeError) and (
        'unexpected keyword argument' in message
        or ('missing' in message and 'required' in message)
    )


def _from_worker(message: str) -> bool:
    return 'in DataLoader worker process' in message


def _log_traceback(error: Exception) -> None:
    logger = MMLogger.get_current_instance()
    record = logger.makeRecord(
        logger.name,
        logging.ERROR,
        __file__,
        0,
        one_line(error),
        (),
        (type(error), error, error.__traceback__),
    )
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.emit(record)
