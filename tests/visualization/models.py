# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Tiny recognizers of each family, and clips for them."""

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

ATA = dict(type='ATA', zero_init=False)


def build(backbone, head='I3DHead', in_channels=32, **options):
    """Build a recognizer of 3 classes."""
    cfg = dict(
        type='Recognizer3D',
        backbone=backbone,
        cls_head=dict(
            type=head,
            num_classes=3,
            in_channels=in_channels,
            average_clips='prob',
        ),
        data_preprocessor=dict(
            type='ActionDataPreprocessor',
            mean=[127.5] * 3,
            std=[60.0] * 3,
            format_shape='NCTHW',
        ),
    )
    cfg.update(options)
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def vit(temporal=ATA, **options):
    """Build a ViT of 3 blocks on 4 x 4 patches of 8 pixels."""
    backbone = dict(
        type='ATATimeSformer',
        num_frames=4,
        img_size=32,
        patch_size=8,
        embed_dims=32,
        num_heads=2,
        num_layers=3,
        temporal=temporal,
        **options,
    )
    return build(backbone, 'TimeSformerHead')


def convnext(temporal=ATA, **options):
    """Build a ConvNeXt of 3 blocks on 8 x 8 and 4 x 4 patches."""
    backbone = dict(
        type='ATAConvNeXt',
        arch=dict(depths=[1, 2], channels=[16, 32]),
        num_frames=4,
        img_size=32,
        head_dims=16,
        temporal=temporal,
        **options,
    )
    return build(backbone)


def cyclemlp(temporal=ATA):
    """Build a CycleMLP of 2 blocks."""
    backbone = dict(
        type='ATACycleMLP',
        arch=dict(depths=[1, 1], channels=[16, 32], mlp_ratios=[2, 2]),
        num_frames=4,
        img_size=32,
        head_dims=16,
        temporal=temporal,
    )
    return build(backbone)


def tsn(temporal=ATA):
    """Build TSN on a ResNet-18, with a neck on 2 x 2 patches."""
    return build(
        dict(type='ResNet', depth=18),
        'TSNHead',
        512,
        type='Recognizer2D',
        neck=dict(
            type='ATANeck', embed_dims=512, num_segments=4, temporal=temporal
        ),
        data_preprocessor=dict(
            type='ActionDataPreprocessor',
            mean=[127.5] * 3,
            std=[60.0] * 3,
            format_shape='NCHW',
        ),
    )


def clip(size=32):
    """Return one view of a Recognizer3D."""
    return torch.randint(0, 255, (1, 3, 4, size, size), dtype=torch.uint8)


def images(size=64):
    """Return one view of a Recognizer2D."""
    return torch.randint(0, 255, (4, 3, size, size), dtype=torch.uint8)


def sample():
    """Return the data sample of a view."""
    return ActionDataSample()
