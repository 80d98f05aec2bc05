# When does ATA help? Photos panned, zoomed and rolled, with an image model
# pretrained on ImageNet: closest to the paper's setting. Its weights are
# frozen here. In the environment of tools/setup_env.sh --integrations.
title = 'Photo motion, frozen image model, top-1 by speed: chance 0.125'
config = 'configs/photos/ata_efficientnet_photo_motion.py'
# After 4 epochs temporal attention is at chance, with 1e-3 as with 3e-3.
options = {'train_cfg.max_epochs': 16}
_rates = {'optim_wrapper.optimizer.lr': [3e-4, 1e-3, 3e-3, 1e-2]}
# Of the controls: what temporal attention and ATA chose.
_control_rates = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3]}
selection = dict(seed=100, metric='all')
seeds = [0, 1, 2]

_temporal = 'model.backbone.temporal'
_attention = dict(
    _delete_=True,
    type='TemporalAttention',
    route_encoding=True,
    zero_init=False,
    time_bias_slopes=(2.0, 0.25),
)
_refined = {f'{_temporal}.support_radius': 1, f'{_temporal}.route_heads': 2}
arms = {
    'averaging': dict(
        options={_temporal: dict(_delete_=True, type='TemporalAveraging')}
    ),
    'temporal attention': dict(grid=_rates, options={_temporal: _attention}),
    'temporal attention, no route encoding': dict(
        grid=_rates,
        options={_temporal: dict(_attention, route_encoding=False)},
    ),
    'ATA': dict(grid=_rates),
    # With the learning rate that temporal attention chose.
    'ATA, lr=1e-3': dict(),
    # The control of the next: routes cannot encode positions there.
    'ATA, no route encoding': dict(
        grid=_rates, options={f'{_temporal}.route_encoding': False}
    ),
    'ATA, no de-alignment': dict(
        grid=_control_rates,
        options={
            f'{_temporal}.dealign': False,
            f'{_temporal}.route_encoding': False,
        },
    ),
    'refined ATA': dict(grid=_rates, options=_refined),
    'refined ATA, lr=1e-3': dict(options=_refined),
    'random routes': dict(
        grid=_control_rates,
        options={f'{_temporal}.matcher': 'RandomMatcher'},
    ),
}
baseline = 'temporal attention'

# Columns of the table, by their key in the metrics.
metrics = dict(
    slow='acc/slow', medium='acc/medium', fast='acc/fast', all='acc/top1'
)

# Classes that a table has apart.
groups = dict(pans=[0, 1, 2, 3], zooms=[4, 5], rolls=[6, 7])

# Test videos on which routes are compared with the true motion.
routes = 128

# Sufficient to run every step, too little to learn.
smoke = {
    'train_dataloader.dataset.num_videos': 32,
    'val_dataloader.dataset.num_videos': 16,
    'test_dataloader.dataset.num_videos': 16,
    'train_dataloader.dataset.data_root': 'data/photo_motion_fast',
    'val_dataloader.dataset.data_root': 'data/photo_motion_fast',
    'test_dataloader.dataset.data_root': 'data/photo_motion_fast',
    'train_cfg.max_epochs': 1,
    'train_cfg.val_begin': 1,
}
