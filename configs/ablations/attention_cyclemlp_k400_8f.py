# Table 3, attention: each patch attends over its position in all frames.
_base_ = 'ata_cyclemlp_k400_8f.py'

model = dict(
    backbone=dict(temporal=dict(_delete_=True, type='TemporalAttention'))
)
