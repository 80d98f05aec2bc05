# Table 3, averaging: frames meet at the end; "Spatial Attention" of Table 6.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(type='TemporalAveraging')))
