# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Export a recognizer: one file of graph and weights, without its config.

By `torch.export` every model. One-to-one matchings are operators of ata_mm in
the graph, which the program that loads it has to import. ONNX has no such
operator: there, models without one-to-one matching.
"""

import io
import os
import os.path as osp
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ata_mm.datasets.rendering import render_clip
from ata_mm.introspection.taps import temporal_modules
from ata_mm.models import ATA
from ata_mm.ops import DisplacementMatcher, SinkhornMatcher
from ata_mm.video import write_video

from .recognizer import VideoRecognizer
from .stream import find_sampling

_ONNX_MATCHERS = (SinkhornMatcher, DisplacementMatcher)


class ClipClassifier(nn.Module):
    """A recognizer as a function of pixels.

    Args:
        model (nn.Module): A recognizer of MMAction2. Set to evaluation.

    Raises:
        ValueError: If the model computes other scores in a test than its
            forward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model.eval()
        test_cfg: Any = model.test_cfg
        if test_cfg and test_cfg.get('fcn_test'):
            raise ValueError(
                'Expected a test_cfg without fcn_test, got fcn_test=True. '
                'Remove it: it is an option of tests alone.'
            )

    def forward(self, clips: Tensor) -> Tensor:
        """Compute the scores of clips.

        Args:
            clips (Tensor): RGB, uint8: (B, 3, T, H, W) of a Recognizer3D,
                (B, T, 3, H, W) of a Recognizer2D.

        Returns:
            Tensor: (B, num_classes), as ``average_clips`` of the head says.
            The scores of a video are the mean over its views, except with a
            TSNHead, which averages their features before it classifies.
        """
        preprocessor = self.model.data_preprocessor
        x = clips.float()
        is_3d = preprocessor.format_shape == 'NCTHW'
        if preprocessor.to_rgb:
            x = x.flip(1 if is_3d else 2)
        if preprocessor._enable_normalize:
            x = (x - preprocessor.mean) / preprocessor.std
        if is_3d:  # by view
            x = x[:, None]
        scores, _ = self.model.extract_feat(x, stage='head')
        return self.model.cls_head.average_clip(scores)


def example_clips(recognizer: VideoRecognizer) -> Tensor:
    """Return two clips of a rendered video, as the test pipeline makes them.

    Args:
        recognizer (VideoRecognizer): Its pipeline is used.

    Returns:
        Tensor: uint8, for :class:`ClipClassifier`.
    """
    steps = recognizer.cfg.test_dataloader.dataset.pipeline
    sampling = find_sampling(list(steps))
    length = sampling.frames * (sampling.interval or 1)
    clips = []
    with TemporaryDirectory() as folder:
        for seed in range(2):
            path = str(Path(folder, f'{seed}.mp4'))
            rng = np.random.default_rng(seed)
            frames = render_clip(rng, seed, length, (340, 256))
            write_video(path, frames, fps=25)
            views = recognizer.read(path)['inputs']
            if sampling.segments > 1:  # (views * T, 3, H, W)
                views = views.unflatten(0, (-1, sampling.segments))
            clips.append(views[0])
    return torch.stack(clips)


def export(
    recognizer: VideoRecognizer, path: str, format: str, clips: Tensor
) -> ClipClassifier:
    """Write a model to a file, for any number of clips of one size.

    Args:
        recognizer (VideoRecognizer): The model, on the CPU.
        path (str): The file; .pt2 for 'torch'.
        format (str): 'torch', for :func:`torch.export.load`, or 'onnx'.
        clips (Tensor): Two clips, as :func:`example_clips` returns them.

    Returns:
        ClipClassifier: What was exported.

    Raises:
        ImportError: If the packages of the extra "export" are missing.
        ValueError: If the model cannot be exported in this format.
    """
    if format == 'torch' and not path.endswith('.pt2'):
        raise ValueError(
            f'Expected a file .pt2 for the format torch, got {path}.'
        )
    model = ClipClassifier(recognizer.model)
    if format == 'onnx':
        check_onnx(model)
    batch = ({0: torch.export.Dim.DYNAMIC},)
    try:
        with torch.no_grad():
            program = torch.export.export(
                model, (clips,), dynamic_shapes=batch, strict=False
            )
    except Exception as error:
        raise ValueError(
            'Expected a model that torch.export can trace, but it fails with '
            f'{type(error).__name__}: {error}'
        ) from error
    if format == 'torch':
        _write(partial(_save_program, program), path)
    else:
        onnx_program = torch.onnx.export(program, dynamo=True, verbose=False)
        assert onnx_program is not None  # of dynamo=True
        _write(onnx_program.save, path)
    return model


def _save_program(program: ExportedProgram, path: str) -> None:
    # By Python: the writer of torch aborts the process if the disk is full.
    content = io.BytesIO()
    torch.export.save(program, content)
    Path(path).write_bytes(content.getbuffer())


def _write(save: Callable[[str], None], path: str) -> None:
    """Write a file, and those beside it, whole or not at all."""
    folder, name = osp.split(path)
    with TemporaryDirectory(dir=folder or '.') as temporary:
        save(osp.join(temporary, name))
        # More than one if ONNX writes large weights apart.
        for entry in os.listdir(temporary):
            os.replace(osp.join(temporary, entry), osp.join(folder, entry))


def check_onnx(model: nn.Module) -> None:
    """Raise if a part of a model has no form in ONNX.

    Args:
        model (nn.Module): The model.

    Raises:
        ImportError: If the packages of the extra "export" are missing.
        ValueError: If a matcher is one-to-one.
    """
    for name, module in temporal_modules(model):
        if not isinstance(module, ATA):
            continue
        if not isinstance(module.matcher, _ONNX_MATCHERS):
            names = ', '.join(kind.__name__ for kind in _ONNX_MATCHERS)
            raise ValueError(
                'Expected TemporalAveraging, TemporalAttention, or ATA with '
                f'one of {names} for the format onnx, which has no operator '
                f'for one-to-one matchings, got {module.matcher!r} in '
                f'{name}. Use the format torch.'
            )
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'Expected the packages onnx, onnxruntime and onnxscript for the '
            f'format onnx, but {error.name} is missing. Run pip install '
            "'.[export]' in the checkout of ata_mm."
        ) from error


def load(path: str, format: str) -> Callable[[Tensor], Tensor]:
    """Load an exported model as a function of clips on the CPU.

    Args:
        path (str): A file of :func:`export`.
        format (str): Its format.

    Returns:
        Callable: uint8 clips -> scores (B, num_classes).
    """
    if format == 'torch':
        return torch.export.load(path).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options)
    return partial(_run_onnx, session)


def _run_onnx(session: Any, clips: Tensor) -> Tensor:
    name = session.get_inputs()[0].name
    (scores,) = session.run(None, {name: clips.numpy()})
    return torch.from_numpy(scores)
