# Table 3, attention: each patch attends over the frames at its place; also the
# first row of Tables 5 and 7, "Factorized Attention" of Table 6.
_base_ = 'ata_vit_k400_8f.py'

model = dict(backbone=dict(temporal=dict(type='TemporalAttention')))
