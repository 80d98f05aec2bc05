# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from ata_mm.apis.config import (
    check_checkpoint,
    load_config,
    read_video_files,
    use_device,
)


def test_load_config_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.py is not a file'):
        load_config(tmp_path / 'nowhere.py')


def test_load_config_merges_options(tiny_config):
    cfg = load_config(tiny_config, {'train_dataloader.batch_size': 1})
    assert cfg.train_dataloader.batch_size == 1


def test_load_config_defaults_to_the_scope_of_mmaction(tmp_path):
    path = tmp_path / 'bare.py'
    path.write_text('model = dict()\n')
    assert load_config(path).default_scope == 'mmaction'


def test_check_checkpoint_refuses_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='x.pth is not a file'):
        check_checkpoint(str(tmp_path / 'x.pth'))


def test_check_checkpoint_leaves_a_url_alone():
    check_checkpoint('https://example.org/x.pth')


def test_device_of_a_name():
    assert use_device('cpu') == torch.device('cpu')


def test_refuses_other_names_than_devices():
    with pytest.raises(ValueError, match="such as 'cpu'.*got 'gpu'"):
        use_device('gpu')


@pytest.mark.parametrize('count, name', [(0, 'cuda'), (1, 'cuda:1')])
def test_refuses_a_gpu_that_torch_does_not_find(monkeypatch, count, name):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    with pytest.raises(ValueError, match=f'torch finds {count} GPUs'):
        use_device(name)


@pytest.mark.parametrize(
    'content, reason',
    [
        ('a = (', 'SyntaxError'),
        ('a = b', 'NameError'),
        ('a = 1 / 0', 'ZeroDivisionError'),
        ("_base_ = 'nowhere.py'", 'FileNotFoundError'),
        ("custom_imports = dict(imports='nowhere')", 'ImportError'),
    ],
)
def test_a_config_that_fails_is_named(tmp_path, content, reason):
    (tmp_path / 'broken.py').write_text(content)
    with pytest.raises(ValueError, match=f'broken.py fails with {reason}'):
        load_config(tmp_path / 'broken.py')


def test_an_option_that_does_not_fit_is_named(tiny_config):
    with pytest.raises(ValueError, match='--cfg-options fails with'):
        load_config(tiny_config, {'train_pipeline.99.type': 'Flip'})


@pytest.mark.parametrize(
    'name', ['gpu', 'cuda:-1', 'CUDA', 'cuda:x', 'meta', 'mps', 'xla', '0']
)
def test_other_devices_are_named(name):
    with pytest.raises(ValueError, match=f'Expected an avail.*got {name!r}'):
        use_device(name)


def frames(tiny_config, **options):
    """A config whose test data are extracted frames."""
    cfg = load_config(tiny_config)
    steps = cfg.test_dataloader.dataset.pipeline
    steps[0:3] = [steps[1], dict(type='RawFrameDecode')]
    cfg.test_dataloader.dataset.update(options, type='RawframeDataset')
    return cfg


def test_a_pipeline_of_frames_reads_videos(tiny_config):
    cfg = frames(tiny_config)
    read_video_files(cfg)
    steps = [s['type'] for s in cfg.test_dataloader.dataset.pipeline[:3]]
    assert steps == ['VideoInit', 'SampleFrames', 'VideoDecode']


@pytest.mark.parametrize('loader', [None, {}])
def test_a_config_that_reads_no_videos_is_an_error(tiny_config, loader):
    cfg = load_config(tiny_config)
    cfg.test_dataloader = loader
    with pytest.raises(ValueError, match='Expected .* test_dataloader'):
        read_video_files(cfg)


def test_a_pipeline_of_videos_is_kept(tiny_config):
    cfg = load_config(tiny_config)
    before = cfg.pretty_text
    read_video_files(cfg)
    assert cfg.pretty_text == before


def test_optical_flow_cannot_be_read_from_a_video(tiny_config):
    with pytest.raises(ValueError, match='of modality Flow'):
        read_video_files(frames(tiny_config, modality='Flow'))


def test_poses_cannot_be_read_from_a_video(tiny_config):
    cfg = frames(tiny_config)
    cfg.test_dataloader.dataset.pipeline[1] = dict(type='PoseDecode')
    with pytest.raises(ValueError, match='PoseDecode'):
        read_video_files(cfg)
