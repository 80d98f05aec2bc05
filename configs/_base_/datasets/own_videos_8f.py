# Own classes, for configs that `python -m ata_mm finetune` writes: 8 frames
# over the whole video. They set ann_file, data_prefix and metainfo.
_base_ = 'something_something_v2_32f.py'

train_pipeline = _base_.train_pipeline
val_pipeline = _base_.val_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[1].update(clip_len=8)
val_pipeline[1].update(clip_len=8)
test_pipeline[1].update(clip_len=8)
train_pipeline.insert(5, dict(type='Flip', flip_ratio=0.5))

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
