# 8 frames at interval 32, as in TimeSformer, for the paper's ablations.
_base_ = 'kinetics400_32x8.py'

clip = dict(clip_len=8, frame_interval=32, num_clips=1)
train_pipeline = _base_.train_pipeline
val_pipeline = _base_.val_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[1].update(clip)
val_pipeline[1].update(clip)
test_pipeline[1].update(clip)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
