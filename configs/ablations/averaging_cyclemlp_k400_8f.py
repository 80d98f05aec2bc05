# Table 3, averaging: frame features are averaged.
_base_ = 'ata_cyclemlp_k400_8f.py'

model = dict(
    backbone=dict(temporal=dict(_delete_=True, type='TemporalAveraging'))
)
