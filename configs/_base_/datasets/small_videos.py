# Rendered videos of 64x48 pixels, with a split for the choice of settings
# (val) and one for the test, each of other videos; one view. The config that
# builds on this sets the data set. For the true motion of every pixel, set the
# type of step 2 to ArrayDecodeWithPositions.
clip = dict(clip_len=8, frame_interval=1)
pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'speed')),
]
train_pipeline = [
    dict(type='CachedVideo', height=24),
    dict(type='SampleFrames', num_clips=1, **clip),
    dict(type='ArrayDecode'),
    dict(type='RandomCrop', size=24),
    *pack,
]
val_pipeline = [
    dict(type='CachedVideo', height=24),
    dict(type='SampleFrames', num_clips=1, test_mode=True, **clip),
    dict(type='ArrayDecode'),
    dict(type='CenterCrop', crop_size=24),
    *pack,
]

# Without workers: the cache is that of the process.
loader = dict(batch_size=32, num_workers=0)
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split='train', pipeline=train_pipeline),
    **loader,
)
val_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='val', pipeline=val_pipeline, test_mode=True),
    **loader,
)
test_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', pipeline=val_pipeline, test_mode=True),
    **loader,
)
