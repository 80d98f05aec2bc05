# As ata_vit_camera_motion_mixed.py, without temporal modelling: frame features
# are averaged.
_base_ = 'ata_vit_camera_motion_mixed.py'

model = dict(
    backbone=dict(temporal=dict(_delete_=True, type='TemporalAveraging'))
)
