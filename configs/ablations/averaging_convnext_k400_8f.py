# Table 3, averaging: frames meet at the end.
_base_ = 'ata_convnext_k400_8f.py'

model = dict(
    backbone=dict(temporal=dict(_delete_=True, type='TemporalAveraging')))
