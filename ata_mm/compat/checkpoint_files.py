# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read checkpoint files with ``weights_only=True``, and name damaged ones.

mmengine reads files by ``torch.load`` with its default arguments: whether a
file can run code then depends on an environment variable. Errors of
``torch.load`` do not name the file, and some advise to load it unsafely.
Files of safetensors and folders of HuggingFace models are not known.

The loader of this shim serves all that read checkpoints through mmengine:
tests, ``load_from``, ``resume``, ``init_cfg=dict(type='Pretrained')`` and
:func:`ata_mm.checkpoints.read_checkpoint`.

Upstream: https://github.com/open-mmlab/mmengine/issues/1655
"""

import os
import os.path as osp
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape, glob
from os import PathLike
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urlparse

import torch
from mmengine.fileio import get_file_backend
from mmengine.runner import checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

_HUGGINGFACE = ('model.safetensors', 'pytorch_model.bin')
_TEXT = string.printable.encode()
# Of distributed training, averaged weights and torch.compile.
_WRAPPER = re.compile(r'^(?:module\.|_orig_mod\.)+')
_NO_CODE = (
    'Expected tensors and plain values in the checkpoint {path}, got {found}, '
    'which is refused because it can run code. Where the file comes from, '
    'save the state_dict of the model alone.'
)


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Read a file, or the weights in the folder of a HuggingFace model.

    Args:
        filename (str): The file or folder; ``~`` is the home directory.
        map_location: As in ``torch.load``. Defaults to None.

    Returns:
        object: The content.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a folder has no known file of weights.
    """
    path = osp.expanduser(filename)
    if osp.isdir(path):
        path = _find_in_folder(path)
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'Expected a checkpoint, but {filename} is not a file.'
        )
    if path.endswith('.safetensors'):
        return _read_safetensors(path)
    return torch.load(path, map_location, weights_only=True)


def load_from_ceph(
    filename: str, map_location: Any = None, backend: str = 'petrel'
) -> Any:
    """Read an object of a Ceph store, as mmengine's loader of this name."""
    store = get_file_backend(filename, backend_args=dict(backend=backend))
    with store.get_local_path(filename) as path:
        return torch.load(path, map_location, weights_only=True)


def load_checkpoint(
    filename: str | PathLike[str],
    map_location: Any = None,
    logger: Any = 'current',
) -> dict:
    """Read a checkpoint from any source that mmengine knows.

    Replaces ``CheckpointLoader.load_checkpoint``.

    Args:
        filename (str | PathLike): A file, a folder of HuggingFace, or a URL.
        map_location: As in ``torch.load``. Defaults to None.
        logger: As in mmengine. Defaults to ``'current'``.

    Returns:
        dict: The content.

    Raises:
        FileNotFoundError: If the file does not exist.
        URLError: If it cannot be downloaded.
        ValueError: If it is damaged, not a dict, or holds objects that could
            run code. All errors name the file. Also if no file is named.
    """
    if not isinstance(filename, (str, PathLike)):
        raise ValueError(
            f'Expected the path or URL of a checkpoint, got {filename!r}: a '
            'part of the model starts from pretrained weights, and none are '
            'named. Name them, or set its option to False, such as '
            'pretrained2d=False of ResNetTSM.'
        )
    filename = os.fspath(filename)
    with naming(filename):
        if _is_url(filename) and _needs_name(_url_path(filename)):
            found = load_from_local(_download(filename), map_location)
        else:
            found = _original(filename, map_location, logger)
    if not isinstance(found, dict):
        raise ValueError(
            'Expected a state_dict, or a checkpoint that has one, in '
            f'{filename}, got an object of type {type(found).__name__}. Save '
            'the state_dict of the model.'
        )
    _unwrap_metadata(found.get('state_dict', found))
    return found


def _unwrap_metadata(state_dict: Any) -> None:
    """Name modules in the metadata of a state_dict without their wrappers.

    mmengine removes ``module.`` from the keys, and not from the metadata, in
    which backbones of ata_mm record their grid.
    """
    metadata = getattr(state_dict, '_metadata', None) or {}
    for name in list(metadata):
        plain = _WRAPPER.sub('', f'{name}.')[:-1]
        metadata.setdefault(plain, metadata[name])


@contextmanager
def naming(filename: str) -> Iterator[None]:
    """Name the checkpoint in errors, and leave unsafe advice out of them."""
    try:
        yield
    except URLError as error:
        raise URLError(
            f'Expected a checkpoint at {filename}, which cannot be '
            f'downloaded: {error}'
        ) from error
    except (FileNotFoundError, PermissionError, ImportError):
        raise
    except Exception as error:  # torch raises many types for a damaged file
        message = str(error)
        refused = re.search(r'GLOBAL (\S+)', message)
        if refused:
            raise ValueError(
                _NO_CODE.format(path=filename, found=refused[1])
            ) from error
        if isinstance(error, ValueError) and filename in message:
            raise
        # What torch adds is advice on weights_only.
        reason = re.split(r'\(1\)|In PyTorch|Re-running', message)[0]
        reason = ' '.join(reason.split('\n')[0].split())
        reason = f'{type(error).__name__}: {reason}'.strip(' :')
        raise ValueError(
            f'Expected a checkpoint of torch, got {filename}, which cannot be '
            f'read ({reason}). {_advice(filename, reason)}'
        ) from error


def _advice(filename: str, reason: str) -> str:
    if _is_url(filename):
        return (
            f'Remove the copy in {torch.hub.get_dir()}/checkpoints and '
            'download it again.'
        )
    if 'TorchScript' in reason:
        return 'This is a TorchScript archive: save a state_dict instead.'
    start = _start_of(filename)
    if start.startswith(b'version https://git-lfs'):
        return 'This is a pointer of Git LFS: get the file by git lfs pull.'
    if start and all(byte in _TEXT for byte in start):
        return f'This is a text file, of {start.splitlines()[0].decode()!r}.'
    return 'Check that the file is complete.'


def _start_of(filename: str) -> bytes:
    try:
        with open(osp.expanduser(filename), 'rb') as file:
            return file.read(200)
    except OSError:  # not a local file
        return b''


def _find_in_folder(folder: str) -> str:
    """Return the file of weights in the folder of a HuggingFace model."""
    for name in _HUGGINGFACE:
        if osp.isfile(osp.join(folder, name)):
            return osp.join(folder, name)
    if glob(osp.join(escape(folder), '*.index.json')):
        raise ValueError(
            f'Expected a checkpoint in one file, but {folder} has it in '
            'several. Load the model by transformers, and save its state_dict '
            'by torch.save.'
        )
    raise ValueError(
        f'Expected a checkpoint, but {folder} is a folder without '
        f'{" or ".join(_HUGGINGFACE)}. Name the file.'
    )


def _is_url(filename: str) -> bool:
    return filename.startswith(('http://', 'https://'))


def _url_path(url: str) -> str:
    return urlparse(url).path


def _needs_name(path: str) -> bool:
    """Return whether mmengine can not read a URL, or may mistake its copy."""
    # torch.hub names copies by the file, and those of HuggingFace are equal.
    return path.endswith(('.safetensors', *_HUGGINGFACE))


def _download(url: str) -> str:
    """Download a file to the cache of torch.hub and return its path."""
    folder = osp.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    stem, suffix = osp.splitext(urlparse(url).netloc + _url_path(url))
    path = osp.join(folder, quote(stem, safe='') + suffix)
    if not osp.isfile(path):
        torch.hub.download_url_to_file(url, path, progress=False)
    return path


def _read_safetensors(path: str) -> dict:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(
            f'Expected the package safetensors to read {path}, but it is not '
            'installed. Run pip install safetensors.'
        ) from error
    return load_file(path)


_original = CheckpointLoader.load_checkpoint


def needed() -> bool:
    """Return whether mmengine reads checkpoint files by its own loader."""
    return CheckpointLoader._schemes[''] is checkpoint.load_from_local


def apply() -> None:
    """Register the loaders of this shim."""
    if needed():
        register = CheckpointLoader.register_scheme
        register('', load_from_local, force=True)
        ceph = [r'(\S+\:)?s3://', r'(\S+\:)?petrel://']
        register(ceph, load_from_ceph, force=True)
        CheckpointLoader.load_checkpoint = staticmethod(load_checkpoint)
