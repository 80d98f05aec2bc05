# Camera motion with a small ConvNeXt. Its features do not contain the position
# of a patch, which route_encoding adds. Set it to False to compare.
_base_ = 'ata_vit_camera_motion.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ATAConvNeXt',
        num_frames=8,
        img_size=24,
        arch=dict(depths=[3], channels=[48]),
        head_dims=8,
        temporal=dict(
            type='ATA', route_encoding=True, zero_init=False, time_bias_std=3.0
        ),
    ),
    cls_head=dict(
        _delete_=True,
        type='I3DHead',
        num_classes=8,
        in_channels=48,
        dropout_ratio=0.0,
        average_clips='prob',
    ),
)
