# As ata_vit_camera_motion.py, without temporal modelling: frame features are
# averaged.
_base_ = 'ata_vit_camera_motion.py'

model = dict(
    backbone=dict(temporal=dict(_delete_=True, type='TemporalAveraging'))
)
