# As ata_vit_camera_motion_mixed.py, with temporal attention instead of ATA:
# each patch attends over its own position.
_base_ = 'ata_vit_camera_motion_mixed.py'

model = dict(
    backbone=dict(
        temporal=dict(
            _delete_=True,
            type='TemporalAttention',
            zero_init=False,
            time_bias_slopes=(2.0, 0.25),
        )
    )
)
