# ATA on ViT-B/16, UCF101, split 1, 8 frames. Not run here. The lists are those
# of MMAction2's tools/data/ucf101, from the official splits. For the number of
# videos of each class: python tools/check_dataset.py CONFIG. HMDB51, prepared
# likewise, differs in paths and number of classes.
_base_ = '../ablations/ata_vit_k400_8f.py'

model = dict(cls_head=dict(num_classes=101))

# The videos are short: 64 frames at 25 per second.
train_pipeline = _base_.train_pipeline
val_pipeline = _base_.val_pipeline
test_pipeline = _base_.test_pipeline
for _pipeline in (train_pipeline, val_pipeline, test_pipeline):
    _pipeline[1].update(frame_interval=8)

_lists = 'data/ucf101/ucf101_{}_split_1_videos.txt'
videos = dict(data_prefix=dict(video='data/ucf101/videos'))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        ann_file=_lists.format('train'), pipeline=train_pipeline, **videos
    ),
)
val_dataloader = dict(
    dataset=dict(
        ann_file=_lists.format('val'), pipeline=val_pipeline, **videos
    )
)
test_dataloader = dict(
    dataset=dict(
        ann_file=_lists.format('val'), pipeline=test_pipeline, **videos
    )
)

optim_wrapper = dict(optimizer=dict(lr=0.005 * 8 / 64))
auto_scale_lr = dict(base_batch_size=8)
