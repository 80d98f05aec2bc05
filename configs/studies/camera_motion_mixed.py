# Which option of the routes helps to recognise camera motion, and by chance of
# the initial time biases or in every seed.
_base_ = 'quickstart.py'

options = {'train_cfg.max_epochs': 15}
seeds = [0, 1, 2]

# Each option by itself, and in combination.
_temporal = 'model.backbone.temporal'
_heads = {f'{_temporal}.route_heads': 4}
_support = {f'{_temporal}.support_radius': 1}
_refine = {f'{_temporal}.refine': 1}
_first = {f'{_temporal}.reference': 'first'}
_rejecting = {
    f'{_temporal}.reference': 'first-or-previous',
    f'{_temporal}.min_similarity': 0.4,
}
# Time biases drawn for each head, instead of slopes that all seeds share.
_drawn = {
    f'{_temporal}.time_bias_slopes': None,
    f'{_temporal}.time_bias_std': 3.0,
}
arms = {
    'route_heads=4': dict(options=_heads, seeds=[0]),
    'support_radius=1': dict(options=_support, seeds=[0]),
    'refine=1': dict(options=_refine, seeds=[0]),
    'route_heads=4, refine=1': dict(options={**_heads, **_refine}, seeds=[0]),
    "route_heads=4, refine=1, reference='first'": dict(
        options={**_heads, **_refine, **_first}, seeds=[0]
    ),
    "refined ATA, reference='first-or-previous', min_similarity=0.4": dict(
        options={**_heads, **_support, **_rejecting}, seeds=[0]
    ),
    'refined ATA, drawn time biases': dict(
        options={**_heads, **_support, **_drawn}, seeds=[0]
    ),
}
