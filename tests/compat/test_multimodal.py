# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import pytest


@pytest.fixture
def transformers(tmp_path):
    """Make an installed transformers, empty but for its version."""

    def install(version):
        info = tmp_path / f'transformers-{version}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Metadata-Version: 2.1\n'
                                       'Name: transformers\n'
                                       f'Version: {version}\n')
        (tmp_path / 'transformers.py').touch()
        return tmp_path

    return install


def test_mmaction_models_can_be_imported(python, transformers):
    done = python('import ata_mm, mmaction.models', transformers('4.56.0'))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('version, needed', [('4.55.4', False),
                                             ('4.56.0', True)])
def test_needed_from_4_56_until_applied(python, shims, transformers, version,
                                        needed):
    code = ('import multimodal as shim\n'
            f'assert shim.needed() is {needed}\n'
            'shim.apply(); shim.apply()\n'
            'assert not shim.needed()')
    done = python(code, shims, transformers(version))
    assert done.returncode == 0, done.stderr
