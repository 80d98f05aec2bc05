# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest


@pytest.fixture
def install(tmp_path):
    """Create an empty transformers of a version, with or without timm."""

    def make(version, timm=False):
        info = tmp_path / f'transformers-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n'
        )
        (tmp_path / 'transformers.py').touch()
        layers = tmp_path / 'timm' / 'models' / 'layers.py'
        layers.parent.mkdir(parents=True)
        for folder in layers.parents[:2]:  # or an installed timm is imported
            (folder / '__init__.py').touch()
        layers.write_text('' if timm else 'raise ImportError')
        return tmp_path

    return make


def test_mmaction_models_can_be_imported(python, install):
    done = python('import ata_mm, mmaction.models', install('4.56.0'))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    'version, timm, needed',
    [('4.55.4', True, False), ('4.55.4', False, True), ('4.56.0', True, True)],
)
def test_needed_until_applied(python, shims, install, version, timm, needed):
    code = (
        'import multimodal as shim\n'
        f'assert shim.needed() is {needed}\n'
        'shim.apply(); shim.apply()\n'
        'assert not shim.needed()'
    )
    done = python(code, shims, install(version, timm))
    assert done.returncode == 0, done.stderr
