# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
import ast
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import ata_mm

import pytest
from importlib_metadata import packages_distributions

ROOT = Path(__file__).resolve().parents[1]
COMPAT = str(ROOT / 'ata_mm' / 'compat')
MMACTION = 'import mmaction.datasets, mmaction.models, mmaction.engine'
# lapx and what it needs; wrapt; the watchdog of slow decoders
OURS = {'ata_mm', 'faulthandler', 'lap', 'lazy_importer', 'wrapt'}


@pytest.fixture(scope='module')
def setup_cfg():
    parser = ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    return parser


def python(code):
    """Run code in a fresh interpreter."""
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    return subprocess.run(
        [sys.executable, '-c', code],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )


def names(requirements):
    """Return distribution names, spelled as in packages_distributions."""
    found = re.findall(r'^[\w.-]+', requirements, flags=re.MULTILINE)
    return {name.lower().replace('_', '-') for name in found}


def imported_modules():
    """Yield the top-level names that the package imports."""
    for path in (ROOT / 'ata_mm').rglob('*.py'):
        if '.mim' in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module.split('.')[0]


def test_import_is_quiet():
    done = python('import ata_mm')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_import_and_help_wait_for_no_large_package():
    scripts = [ROOT / 'ata_mm' / '__main__.py', *ROOT.glob('tools/*.py')]
    done = python(f"""
import io, runpy, sys
from contextlib import redirect_stdout, suppress

import ata_mm

for script in {list(map(str, scripts))}:
    sys.argv, stdout = [script, '--help'], io.StringIO()
    with suppress(SystemExit), redirect_stdout(stdout):
        runpy.run_path(script, run_name='__main__')
    assert stdout.getvalue().startswith('usage: '), script
    assert not {{'torch', 'mmaction', 'cv2'}} & set(sys.modules), script""")
    assert done.returncode == 0, done.stderr


def test_a_subpackage_is_an_attribute():
    done = python('import ata_mm; print(ata_mm.models.ATA.__name__)')
    assert done.stdout == 'ATA\n'


def test_an_unknown_attribute_is_named():
    with pytest.raises(AttributeError, match="'ata_mm' has no .*'modles'"):
        _ = ata_mm.modles


def test_import_loads_no_more_packages_than_mmaction():
    show = "print(' '.join({name.split('.')[0] for name in sys.modules}))"
    # mmaction cannot be imported without the first shim, and beside
    # transformers not without the second.
    mmaction = python(
        f'import sys; sys.path.append({COMPAT!r})\n'
        'import localizers_drn, multimodal\n'
        'localizers_drn.apply()\n'
        'multimodal.apply()\n'
        f'{MMACTION}\n{show}'
    )
    ours = python(
        'import sys\nfrom ata_mm import datasets, engine, evaluation, models\n'
        + show
    )
    assert mmaction.returncode == ours.returncode == 0
    extra = set(ours.stdout.split()) - set(mmaction.stdout.split())
    extra = {name for name in extra if not name.startswith('_cython_')}
    assert extra <= OURS


@pytest.mark.skipif(
    sys.version_info < (3, 10), reason='no sys.stdlib_module_names'
)
def test_imported_packages_are_declared(setup_cfg):
    declared = names(setup_cfg['options']['install_requires'])
    for extra in setup_cfg['options.extras_require'].values():
        declared |= names(extra)
    owners = packages_distributions()
    for module in set(imported_modules()) - set(sys.stdlib_module_names):
        if module != 'ata_mm':
            owner = owners.get(module, [module])  # itself, not installed
            assert declared & names('\n'.join(owner)), module


def test_mmcv_is_left_to_the_user(setup_cfg):
    required = names(setup_cfg['options']['install_requires'])
    assert not required & {'mmcv', 'mmcv-lite', 'mmcv-full'}


@pytest.mark.parametrize(
    'file, extras',
    [
        ('constraints.txt', ('lite', 'tests', 'browser', 'dev', 'export')),
        (
            'constraints-integrations.txt',
            (
                'lite',
                'tests',
                'browser',
                'dev',
                'export',
                'timm',
                'torchvision',
                'mmpretrain',
                'routes',
                'torchcodec',
                'transformers',
            ),
        ),
    ],
)
def test_constraints_cover_the_requirements(setup_cfg, file, extras):
    required = names(setup_cfg['options']['install_requires'])
    for extra in extras:
        required |= names(setup_cfg['options.extras_require'][extra])
    # Both packages named opencv install the same folder.
    required |= {'opencv-contrib-python'}
    assert names((ROOT / file).read_text()) == required


def test_environments_differ_in_torch_and_its_triton_alone():
    main, other = (
        set(re.findall(r'^[\w.-]+==.+', (ROOT / file).read_text(), re.M))
        for file in ('constraints.txt', 'constraints-integrations.txt')
    )
    assert names('\n'.join(main - other)) == {'torch', 'triton'}


@pytest.mark.parametrize('name', ['configs', 'model-index.yml', 'tools'])
def test_mim_finds_the_files(name):
    package = Path(ata_mm.__file__).parent
    assert (package / '.mim' / name).resolve() == ROOT / name
    assert (package / '.mim' / name).exists()
