# Arms of a study as options of a small ViT with ATA, and the grid of settings
# that each of them tries before its runs.
_temporal = 'model.backbone.temporal'
_attention = dict(zero_init=False, time_bias_slopes=(2.0, 0.25))

# For the true motion of rendered videos: two more channels, and their use.
_positions = {
    f'{loader}_dataloader.dataset.pipeline.2.type': 'ArrayDecodeWithPositions'
    for loader in ('train', 'val', 'test')
}
_true_motion = {
    'model.data_preprocessor.mean': [127.5, 127.5, 127.5, 0.0, 0.0],
    'model.data_preprocessor.std': [40.0, 40.0, 40.0, 1.0, 1.0],
    'model.backbone.type': 'TrueMotionTimeSformer',
    f'{_temporal}.type': 'GivenRoutesATA',
    **_positions,
}
_others = {
    'model.backbone.other_temporal': dict(
        type='TemporalAttention', **_attention
    )
}
_refined = {f'{_temporal}.support_radius': 1, f'{_temporal}.route_heads': 2}
# For `tools/study.py --plot-routes`: how routes change in training.
_keep = {'default_hooks.checkpoint.max_keep_ckpts': -1}

# Tried by every arm with a seed of its own; the best on validation videos. One
# change at a time: learning rate, scale of the position embedding, initial
# time biases drawn for each head, what is matched. Where the best one was at
# the edge of the grid, an arm has more.
_lr = 'optim_wrapper.optimizer.lr'
_std = 'model.backbone.position_std'
_rates = [
    {_lr: [1e-3, 2e-3, 4e-3], _std: [1.0]},
    {_lr: [2e-3], _std: [2.0, 4.0]},
]
grid = [
    *_rates,
    {
        _lr: [2e-3],
        _std: [1.0],
        f'{_temporal}.time_bias_slopes': [None],
        f'{_temporal}.time_bias_std': [3.0],
    },
]
_matching_grid = [
    *grid,
    {
        _lr: [2e-3],
        _std: [1.0, 2.0],
        f'{_temporal}.match_on': ['tokens'],
    },
]
# For an option more or less, what ATA and refined ATA chose on camera motion.
_chosen_grid = {_lr: [2e-3], _std: [1.0, 4.0]}
selection = dict(seed=100, metric='all')
seeds = [0, 1, 2]

arms = {
    'averaging': dict(
        grid=_rates,
        options={_temporal: dict(_delete_=True, type='TemporalAveraging')},
    ),
    'temporal attention': dict(
        grid=[*grid, {_lr: [2e-3], _std: [0.5]}],
        options={
            _temporal: dict(
                _delete_=True, type='TemporalAttention', **_attention
            )
        },
    ),
    'joint attention': dict(
        grid=_rates,
        options={_temporal: dict(_delete_=True, type='JointAttention')},
    ),
    # As in the paper, and with two options that are not.
    'ATA': dict(
        grid=[
            *_matching_grid,
            {_lr: [1e-3], _std: [2.0, 4.0]},
            {_lr: [2e-3], _std: [8.0]},
        ],
        options=_keep,
    ),
    'refined ATA': dict(grid=_matching_grid, options={**_refined, **_keep}),
    # Controls: what routes cannot fall below, and cannot surpass.
    'random routes': dict(
        grid=_chosen_grid, options={f'{_temporal}.matcher': 'RandomMatcher'}
    ),
    'random routes, 2 of 4 heads': dict(
        grid=_chosen_grid,
        options={
            f'{_temporal}.matcher': 'RandomMatcher',
            f'{_temporal}.route_heads': 2,
        },
    ),
    'true motion': dict(options=_true_motion),
    'true motion, 2 of 4 heads': dict(
        options={**_true_motion, f'{_temporal}.route_heads': 2}
    ),
    # One option at a time.
    'ATA, support_radius=1': dict(
        grid=_chosen_grid, options={f'{_temporal}.support_radius': 1}
    ),
    'ATA, 2 of 4 heads': dict(
        grid=_chosen_grid, options={f'{_temporal}.route_heads': 2}
    ),
    'ATA, min_similarity=0.4': dict(
        grid=_chosen_grid, options={f'{_temporal}.min_similarity': 0.4}
    ),
    'ATA, shared': dict(
        grid=_chosen_grid, options={f'{_temporal}.share_alignment': 'stage'}
    ),
    'ATA, displacement': dict(
        grid=_chosen_grid,
        options={f'{_temporal}.matcher': 'DisplacementMatcher'},
    ),
    'ATA in block 0': dict(
        grid=_chosen_grid,
        options={**_others, 'model.backbone.temporal_blocks': [0]},
    ),
    'ATA in block 1': dict(
        grid=_chosen_grid,
        options={**_others, 'model.backbone.temporal_blocks': [1]},
    ),
    'ATA, soft': dict(
        grid=_chosen_grid,
        options={f'{_temporal}.matcher': 'SinkhornMatcher'},
    ),
}
baseline = 'temporal attention'

# Columns of the table, by their key in the metrics.
metrics = dict(
    slow='acc/slow', medium='acc/medium', fast='acc/fast', all='acc/top1'
)
options = {'train_cfg.max_epochs': 8}

# Test videos on which routes are compared with the true motion.
routes = 128
