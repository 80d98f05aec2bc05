# Table 3, averaging: frame features are averaged. "Spatial Attention" of
# Table 6.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(type='TemporalAveraging')))
