# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""MMAction2's inferencer, made to give the scores of a test."""
import warnings
from typing import List

import torch
from mmaction.apis import ActionRecogInferencer, init_recognizer
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import Tensor, nn

from ata_mm.checkpoints import name_as_recognizer
from ata_mm.checkpoints.reading import read_checkpoint
from ata_mm.video.pipeline import step_names


class ViewsInferencer(ActionRecogInferencer):
    """MMAction2's inferencer, with every view of the test pipeline.

    MMAction2's own keeps one clip and the centre crop, so that its scores are
    not those of a test, and fills what a checkpoint lacks with random weights.

    Args:
        cfg (Config): The config.
        checkpoint (str): The trained weights.
        device (str): As in torch.
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str) -> None:
        super().__init__(
            cfg,
            checkpoint,
            device,
            scope=cfg.get('default_scope', 'mmaction'))

    def score(self, samples: List[dict]) -> Tensor:
        """Scores of what the pipeline returned: (len(samples), num_classes).

        Raises:
            ValueError: If the model does not average its views.
        """
        results = self.forward(self.collate_fn(samples))
        scores = torch.stack([r.pred_score for r in results]).cpu()
        if scores.ndim != 2:
            raise ValueError(
                'expected one score a class, got one for each of '
                f'{scores.shape[1]} views; set '
                "model.cls_head.average_clips='prob' in the config")
        return scores

    def _init_model(self, cfg: Config, weights: str, device: str) -> nn.Module:
        model = init_recognizer(cfg, device=device)
        self.meta = _load(model, weights)
        return model

    def _init_pipeline(self, cfg: Config) -> Compose:
        steps = list(cfg.test_dataloader.dataset.pipeline)
        for index, name in enumerate(step_names(steps), 1):
            if name == 'SampleFrames':
                steps.insert(index, warn_if_short)
                break
        return Compose([dict(type='InferencerPackInput'), *steps])

    def _init_visualizer(self, cfg: Config) -> None:
        """None: MMAction2's videos need a moviepy of old, and hold all frames
        at once."""


def warn_if_short(results: dict) -> dict:
    """A transform after SampleFrames: warn where it has to repeat frames."""
    frames = results['total_frames']
    needed = (results['clip_len'] - 1) * results['frame_interval'] + 1
    if frames < needed:
        warnings.warn(
            f'{results["filename"]} has {frames} frames, fewer than the '
            f'{needed} of a clip (clip_len={results["clip_len"]}, '
            f'frame_interval={results["frame_interval"]}); SampleFrames '
            'repeats some')
    return results


def _load(model: nn.Module, checkpoint: str) -> dict:
    """Load every weight of a model, return the checkpoint's meta."""
    loaded = read_checkpoint(checkpoint, logger='silent')
    try:
        name_as_recognizer(loaded, model)
        _load_checkpoint_to_model(model, loaded, strict=True, logger='silent')
    except (RuntimeError, ValueError) as error:
        raise ValueError(f'checkpoint {checkpoint} does not fit the '
                         f'model of the config: {error}') from error
    return loaded.get('meta', {})
