# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Read a config file, and check the checkpoint and device of a model."""

import copy
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config

from ata_mm.video.pipeline import NOT_VIDEO, sampling_index, step_names

from .config_keys import check_keys, check_option_keys


def load_config(path: str | Path, options: dict | None = None) -> Config:
    """Read a config file and merge command line options into it.

    Args:
        path (str | Path): The config file.
        options (dict, optional): Values by dotted key, as from
            ``--cfg-options``. Defaults to None.

    Returns:
        Config: The config; its ``default_scope`` is ``'mmaction'`` unless the
        file sets one.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If Python cannot run it, if the options do not fit it, or
            if a key is misspelt, see :mod:`ata_mm.apis.config_keys`.
    """
    return with_options(read_config(path), options or {})


def read_config(path: str | Path) -> Config:
    """Read a config file as it is, for :func:`with_options`.

    Args:
        path (str | Path): The config file.

    Returns:
        Config: The config.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If Python cannot run it.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'Expected the path of a config such as configs/ata_vit_k400.py, '
            f'but config {path} is not a file.'
        )
    with _naming(f'config {path}'):
        return Config.fromfile(path)


def with_options(cfg: Config, options: dict) -> Config:
    """Return a copy of a config with command line options merged into it.

    Args:
        cfg (Config): The config, as :func:`read_config` returns it.
        options (dict): Values by dotted key.

    Returns:
        Config: The copy, checked as by :func:`load_config`.

    Raises:
        ValueError: If the options do not fit the config, or if a key is
            misspelt.
    """
    cfg = copy.deepcopy(cfg)
    check_option_keys(cfg, options)
    with _naming('--cfg-options'):
        cfg.merge_from_dict(options)
    cfg.setdefault('default_scope', 'mmaction')
    check_keys(cfg)
    return cfg


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Name what cannot be read, whose errors have any type."""
    try:
        yield
    except Exception as error:  # that of any line of a config
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise ValueError(
            f'Expected settings that can be read, but {what} fails with '
            f'{type(error).__name__}: {reason}'
        ) from error


def read_video_files(cfg: Config) -> None:
    """Let the test pipeline of a config read video files.

    That of a data set of extracted frames reads folders of images. Its frames
    are decoded from the video instead; nothing else changes.

    Args:
        cfg (Config): Config of a recognizer, changed in place.

    Raises:
        ValueError: If there is no test_dataloader, or its pipeline reads
            neither videos nor RGB frames, but arrays, poses, sound or optical
            flow.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset')
    if not dataset:
        raise ValueError(
            'Expected a config with test_dataloader, whose pipeline reads the '
            'videos, got none. Set test_dataloader as in '
            'configs/_base_/datasets.'
        )
    steps = list(dataset.get('pipeline') or ())
    names = step_names(steps)
    if not NOT_VIDEO.intersection(names):
        return
    sample = sampling_index(steps)
    modality = dataset.get('modality', 'RGB')
    if sample is None or 'RawFrameDecode' not in names or modality != 'RGB':
        raise ValueError(
            'Expected a test pipeline that reads video files, or RGB frames '
            f'by RawFrameDecode, got {", ".join(names)} of modality '
            f'{modality}. Set test_dataloader.dataset.pipeline, starting with '
            'VideoInit, SampleFrames and VideoDecode.'
        )
    steps[names.index('RawFrameDecode')] = dict(type='VideoDecode')
    steps.insert(sample, dict(type='VideoInit'))
    dataset.pipeline = steps


def check_checkpoint(path: str | Path) -> None:
    """Raise if a local checkpoint does not exist.

    URLs are not checked; mmengine downloads them.

    Args:
        path (str | Path): A file or folder, or an address such as
            ``https://…``.

    Raises:
        FileNotFoundError: If the path is local and does not exist.
    """
    path = str(path)
    # A folder may be that of a HuggingFace model.
    if '://' not in path and not osp.exists(osp.expanduser(path)):
        raise FileNotFoundError(
            'Expected a .pth file or a URL, but '
            f'checkpoint {path} is not a file.'
        )


def use_device(name: str) -> torch.device:
    """Parse the name of a device and check that it is available.

    Args:
        name (str): Such as 'cpu', 'cuda' or 'cuda:1'.

    Returns:
        torch.device: The device.

    Raises:
        ValueError: If the name is not that of a device, or of one that torch
            does not find.
    """
    try:
        device = torch.device(name)
        if device.type != 'cuda':
            torch.empty(1, device=device).cpu()
    except Exception as error:  # AssertionError, NotImplementedError, …
        raise ValueError(
            "Expected an available device such as 'cpu', 'cuda' or "
            f"'cuda:1', got {name!r}."
        ) from error
    count = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise ValueError(
            f'Expected an available device, got {name!r}, but '
            f"torch finds {count} GPUs. Use 'cpu', or install a "
            'torch built for the GPU of this machine.'
        )
    return device
