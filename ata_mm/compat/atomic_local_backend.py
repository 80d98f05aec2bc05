# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Write files of mmengine's local storage atomically.

mmengine writes checkpoints and result dumps in place: a process killed while
it writes, or a full disk, leaves half a file under the final name, in place of
the whole one that was there. The backend below writes beside the file, syncs
it to the disk, and renames it.

Upstream: no known report.
"""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.backends import backends
from mmengine.fileio.io import backend_instances

# Suffix of a file that is being written, or that a killed process has left.
PART = '.part'


class AtomicLocalBackend(LocalBackend):
    """Local storage whose files are whole or not there."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes to a file.

        The file has its previous content until the new one is on the disk.
        Devices and pipes are written to directly.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file. Its folder is created.

        Raises:
            OSError: If the content cannot be written, with the name of the
                file. What was written is removed.
        """
        # The target of a link is replaced, not the link.
        path = os.path.realpath(filepath)
        if os.path.exists(path) and not os.path.isfile(path):
            return super().put(obj, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # Unique, since mmengine's processes write some files all at once.
        part = f'{path}.{uuid4().hex[:8]}{PART}'
        try:
            with open(part, 'xb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                os.remove(part)
            # Errors of write() and fsync() do not name the file.
            raise OSError(error.errno, error.strerror, path) from error
        _sync_folder(os.path.dirname(path))

    def put_text(
        self, obj: str, filepath: str | Path, encoding: str = 'utf-8'
    ) -> None:
        """Write text to a file, as :meth:`put` does.

        Args:
            obj (str): The content.
            filepath (str | Path): The file. Its folder is created.
            encoding (str): Defaults to 'utf-8'.

        Raises:
            OSError: As :meth:`put`.
        """
        self.put(obj.encode(encoding), filepath)


def _sync_folder(folder: str) -> None:
    """Make a rename durable; some file systems cannot, and need not."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def needed() -> bool:
    """Return whether mmengine's local storage is the one that it ships."""
    return backends['local'] is LocalBackend


def apply() -> None:
    """Register the atomic backend in place of mmengine's."""
    if needed():
        register_backend('local', AtomicLocalBackend, force=True, prefixes='')
        # Kept by mmengine.fileio.dump and its like.
        for key, backend in list(backend_instances.items()):
            if type(backend) is LocalBackend:
                del backend_instances[key]
