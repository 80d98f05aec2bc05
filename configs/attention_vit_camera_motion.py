# The same with temporal attention: each patch attends over its own position.
_base_ = 'ata_vit_camera_motion.py'

model = dict(
    backbone=dict(
        temporal=dict(
            _delete_=True,
            type='TemporalAttention',
            zero_init=False,
            time_bias_std=3.0,
        )
    )
)
