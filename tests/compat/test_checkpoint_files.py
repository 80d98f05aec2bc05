# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import sys
from urllib.error import URLError

import pytest
import torch
from mmengine.runner import CheckpointLoader, checkpoint

from ata_mm.compat import checkpoint_files

WEIGHTS = dict(weight=torch.arange(3.0))
load = CheckpointLoader.load_checkpoint


class Touch:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


@pytest.mark.parametrize('zipped', [True, False])
def test_no_pickle_runs_code(tmp_path, monkeypatch, zipped):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    torch.save(
        dict(state_dict=Touch(tmp_path / 'marker')),
        tmp_path / 'bad.pth',
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ValueError, match='bad.pth, got io.open') as error:
        load(str(tmp_path / 'bad.pth'))
    assert not (tmp_path / 'marker').exists()
    assert 'weights_only' not in str(error.value)


@pytest.mark.parametrize(
    'content', [b'', b'text', b'not a video', b'PK\x03\x04', b'\x80\x02']
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / 'x.pth').write_bytes(content)
    with pytest.raises(ValueError, match='x.pth, which cannot be') as error:
        load(str(tmp_path / 'x.pth'))
    assert 'weights_only' not in str(error.value)


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize(
    'content, advice',
    [
        ('version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
        ('work_dirs/x/epoch_1.pth', "a text file, of 'work_dirs/x/epoch_1"),
    ],
)
def test_a_file_of_text_is_recognised(tmp_path, suffix, content, advice):
    if suffix == 'safetensors':
        pytest.importorskip('safetensors')
    path = tmp_path / f'x.{suffix}'
    path.write_text(content)
    with pytest.raises(ValueError, match=advice):
        load(str(path))


def test_a_torchscript_archive_is_recognised(tmp_path):
    scripted = torch.jit.trace(torch.nn.Identity(), torch.ones(1))
    scripted.save(str(tmp_path / 'x.pth'))
    with pytest.raises(ValueError, match='save a state_dict instead'):
        load(str(tmp_path / 'x.pth'))


@pytest.mark.parametrize('kept', [10, 200, -30])
def test_a_cut_file_is_named(tmp_path, kept):
    torch.save(WEIGHTS, tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[:kept])
    with pytest.raises(ValueError, match='cut.pth, which cannot be read'):
        load(str(tmp_path / 'cut.pth'))


@pytest.mark.parametrize('value', [[WEIGHTS], torch.ones(2), 3])
def test_what_is_not_a_dict_is_named(tmp_path, value):
    torch.save(value, tmp_path / 'list.pth')
    kind = type(value).__name__
    with pytest.raises(ValueError, match=f'list.pth, got .* type {kind}'):
        load(str(tmp_path / 'list.pth'))


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_a_missing_file_is_named(suffix):
    with pytest.raises(FileNotFoundError, match=f'nowhere.{suffix}'):
        load(f'nowhere.{suffix}')


def test_a_checkpoint_without_a_name_is_refused():  # ResNetTSM
    with pytest.raises(ValueError, match='got None.*pretrained2d=False'):
        CheckpointLoader.load_checkpoint(None)


def test_a_path_is_known(tmp_path):
    torch.save(dict(a=1), tmp_path / 'a.pth')
    assert CheckpointLoader.load_checkpoint(tmp_path / 'a.pth') == dict(a=1)


def test_the_home_directory_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save(WEIGHTS, tmp_path / 'x.pth')
    assert load('~/x.pth')['weight'].equal(WEIGHTS['weight'])


def test_a_model_in_several_files_is_refused(tmp_path):
    (tmp_path / 'model.safetensors.index.json').write_text('{}')
    with pytest.raises(ValueError, match='has it in several'):
        load(str(tmp_path))


def test_the_folder_of_a_huggingface_model_is_read(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'pytorch_model.bin')
    assert load(str(tmp_path))['weight'].equal(WEIGHTS['weight'])


def test_another_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=f'{tmp_path} is a folder without'):
        load(str(tmp_path))


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    path = str(tmp_path / 'model.safetensors')
    safetensors.save_file(WEIGHTS, path)
    assert load(path)['weight'].equal(WEIGHTS['weight'])


def test_safetensors_of_a_url(tmp_path, monkeypatch):
    safetensors = pytest.importorskip('safetensors.torch')
    safetensors.save_file(WEIGHTS, tmp_path / 'model.safetensors')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(
        torch.hub,
        'download_url_to_file',
        lambda url, path, progress: (tmp_path / 'model.safetensors').rename(
            path
        ),
    )
    url = 'https://example.org/a/model.safetensors?download=true'
    assert load(url)['weight'].equal(WEIGHTS['weight'])
    assert load(url)['weight'].equal(WEIGHTS['weight'])  # from the cache


def test_files_of_huggingface_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def download(url, path, progress):
        torch.save(dict(url=url), path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for model in ('a-b', 'a_b', 'a-b'):
        url = f'https://example.org/{model}/pytorch_model.bin'
        assert load(url) == dict(url=url)
    assert len(list(tmp_path.rglob('*.bin'))) == 2


def test_broken_safetensors_are_named(tmp_path):
    pytest.importorskip('safetensors')
    (tmp_path / 'x.safetensors').write_bytes(b'\x00' * 20)
    with pytest.raises(ValueError, match='x.safetensors, which cannot'):
        load(str(tmp_path / 'x.safetensors'))


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    (tmp_path / 'x.safetensors').touch()
    with pytest.raises(ValueError, match='pip install safetensors'):
        load(str(tmp_path / 'x.safetensors'))


def test_a_server_that_does_not_respond_is_not_a_damaged_file(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError('refused')

    monkeypatch.setattr(checkpoint, 'load_url', refuse)
    with pytest.raises(URLError, match='nowhere.invalid/x.pth.*refused'):
        load('https://nowhere.invalid/x.pth')


def test_second_call_changes_nothing():
    before = CheckpointLoader._schemes['']
    checkpoint_files.apply()
    assert not checkpoint_files.needed()
    assert CheckpointLoader._schemes[''] is before
