# The same without temporal modelling: frames meet at the end.
_base_ = 'ata_vit_camera_motion.py'

model = dict(
    backbone=dict(temporal=dict(_delete_=True, type='TemporalAveraging')))
