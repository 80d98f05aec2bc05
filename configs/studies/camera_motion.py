# When does ATA help? Camera motion of mixed speeds.
_base_ = '../_base_/studies/arms.py'

title = 'Camera motion, top-1 by speed: 8 classes, chance 0.125'
config = 'configs/ata_vit_camera_motion_study.py'
# More seeds for the arms of the README.
arms = {
    name: dict(seeds=[0, 1, 2, 3, 4])
    for name in (
        'temporal attention',
        'ATA',
        'refined ATA',
        'true motion, 2 of 4 heads',
    )
}

# Classes that a table has apart.
groups = dict(pans=[0, 1, 2, 3], zooms=[4, 5], rolls=[6, 7])

# Sufficient to run every step, too little to learn.
smoke = {
    'train_dataloader.dataset.num_videos': 64,
    'val_dataloader.dataset.num_videos': 32,
    'test_dataloader.dataset.num_videos': 32,
    'train_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'val_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'test_dataloader.dataset.data_root': 'data/camera_motion_mixed_fast',
    'train_cfg.max_epochs': 1,
    'train_cfg.val_begin': 1,
}
