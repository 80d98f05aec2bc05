# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Does what ata_mm stands on work here: GPU, decoder, solver, a model?"""
import os
import shutil
import tempfile
import time
from typing import Iterator

import cv2
import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.device import get_device

from .finding import FAULT, OK, WARNING, Finding

_NUM_FRAMES = 8


def check_gpu() -> Iterator[Finding]:
    """The GPUs that torch can use."""
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            name = torch.cuda.get_device_name(index)
            memory = torch.cuda.get_device_properties(index).total_memory
            yield Finding(
                OK, f'GPU {index}', f'{name}, {memory / 2**30:.0f} '
                f'GiB, CUDA {torch.version.cuda}')
    elif get_device() != 'cpu':
        yield Finding(OK, 'GPU', get_device())
    elif shutil.which('nvidia-smi'):
        yield Finding(
            WARNING, 'GPU', 'there seems to be one that torch '
            f'{torch.__version__} cannot use',
            'install a driver and a torch that go together: '
            'https://pytorch.org/get-started/locally')
    else:
        yield Finding(
            WARNING, 'GPU', f'none; models run on {os.cpu_count()} CPU cores',
            'fine for the quick start; the recipes of the paper need GPUs')


def check_decoder() -> Iterator[Finding]:
    """Write a small video with OpenCV, and decode it with decord."""
    from decord import VideoReader
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'grey.mp4')
        _write_video(path)
        frames = VideoReader(path, num_threads=1)[:].asnumpy()
    levels = frames.mean(axis=(1, 2, 3))
    if len(frames) != _NUM_FRAMES or np.abs(levels - _levels()).max() > 8:
        yield Finding(
            FAULT, 'decoder', f'a video of {_NUM_FRAMES} frames of brightness '
            f'{_levels().tolist()} came back as {levels.round().tolist()}',
            'reinstall it: `pip install --force-reinstall --no-deps decord`')
    else:
        yield Finding(OK, 'decoder',
                      f'decord reads an mp4 file of {_NUM_FRAMES} frames')


def check_solver() -> Iterator[Finding]:
    """Solve small matchings with lapx and with scipy."""
    from ata_mm.ops import ExactMatcher
    similarity = torch.rand(8, 49, 49, generator=torch.Generator())
    gains = [
        similarity.gather(-1,
                          ExactMatcher(solver)(similarity)[..., None]).sum()
        for solver in ('lapx', 'scipy')
    ]
    if torch.allclose(*gains):
        yield Finding(OK, 'solver', 'lapx finds the optimum that scipy finds')
    else:
        yield Finding(
            FAULT, 'solver', f'lapx reaches a similarity of {gains[0]:.3f}, '
            f'scipy {gains[1]:.3f}',
            "reinstall it: `pip install --force-reinstall --no-deps lapx`, or "
            "set matcher=dict(type='ExactMatcher', solver='scipy')")


def check_model() -> Iterator[Finding]:
    """Send a clip forward and backward through a small ATATimeSformer."""
    device = get_device()
    start = time.perf_counter()
    model = MODELS.build(
        dict(
            _scope_='mmaction',
            type='ATATimeSformer',
            num_frames=8,
            img_size=64,
            embed_dims=48,
            num_heads=4,
            num_layers=2,
            temporal=dict(type='ATA', zero_init=False))).to(device)
    clips = torch.randn(2, 3, 8, 64, 64, device=device)
    model(clips).square().mean().backward()
    seconds = time.perf_counter() - start
    strange = [
        name for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all()
    ]
    if strange:
        yield Finding(
            FAULT, 'self-test', f'no finite gradient on {device} for '
            f'{len(strange)} parameters, such as {strange[0]}',
            'install a torch that goes with the driver of this machine: '
            'https://pytorch.org/get-started/locally')
    else:
        yield Finding(
            OK, 'self-test', 'ATATimeSformer, forward and backward '
            f'on {device}, {seconds:.1f} s')


def _levels() -> np.ndarray:
    """The brightness of each frame of the test video."""
    return np.linspace(40, 215, _NUM_FRAMES).round()


def _write_video(path: str) -> None:
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(path, codec, 10, (64, 48))
    for level in _levels():
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
