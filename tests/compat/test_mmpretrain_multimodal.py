# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    find_spec('mmpretrain') is None, reason='mmpretrain is not installed'
)


@pytest.fixture
def installed(tmp_path):
    """An empty transformers 4.56, without the function for mmpretrain."""
    for name, version in (('transformers', '4.56.0'), ('pycocotools', '2.0')):
        info = tmp_path / f'{name}-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        )
        (tmp_path / f'{name}.py').touch()
    return tmp_path


def test_needed_until_applied(python, installed):
    code = (
        'from ata_mm.compat import mmpretrain_multimodal as shim\n'
        'assert shim.needed()\n'
        'shim.apply(); shim.apply()\n'
        'assert not shim.needed()\n'
        'import mmpretrain.models'
    )
    done = python(code, installed)
    assert done.returncode == 0, done.stderr


def test_image_models_of_mmpretrain_are_built(python, installed):
    code = (
        'import ata_mm\n'
        'from ata_mm.models import ATABackbone\n'
        "ATABackbone(dict(type='mmpretrain.ResNet', depth=18), "
        "'layer*.*', 2, img_size=32)"
    )
    done = python(code, installed)
    assert done.returncode == 0, done.stderr
