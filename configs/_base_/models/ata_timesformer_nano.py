# Smaller than ata_timesformer_micro.py, for studies of many runs: two blocks,
# four heads.
_base_ = 'ata_timesformer_micro.py'

model = dict(backbone=dict(num_layers=2, num_heads=4))
