# When does ATA help? Objects that turn a corner before a moving background.
_base_ = '../_base_/studies/arms.py'

title = 'Moving objects, top-1 by speed: 8 classes, chance 0.125'
config = 'configs/ata_vit_moving_objects.py'

# Learning rates and scales of the position embedding: on camera motion, no arm
# chose drawn time biases or matching on tokens.
_names = (
    'temporal attention',
    'ATA',
    'refined ATA',
    'true motion, 2 of 4 heads',
)
arms = {n: dict(_base_.arms[n], grid=_base_.grid[:2]) for n in _names}
arms['_delete_'] = True

# Sufficient to run every step, too little to learn.
smoke = {
    'train_dataloader.dataset.num_videos': 64,
    'val_dataloader.dataset.num_videos': 32,
    'test_dataloader.dataset.num_videos': 32,
    'train_dataloader.dataset.data_root': 'data/moving_objects_fast',
    'val_dataloader.dataset.data_root': 'data/moving_objects_fast',
    'test_dataloader.dataset.data_root': 'data/moving_objects_fast',
    'train_cfg.max_epochs': 1,
    'train_cfg.val_begin': 1,
}
