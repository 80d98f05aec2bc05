# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""model-index.yml, the metafiles that it imports, and the pages of the
families."""

import hashlib
from pathlib import Path

import ata_mm  # noqa: F401  must precede imports of mmaction

import pytest
import torch
from mmengine.fileio import load

from ata_mm.apis import VideoRecognizer, load_config
from ata_mm.datasets import CLASSES, CameraMotionDataset

ROOT = Path(__file__).resolve().parents[1]
METAFILES = [ROOT / path for path in load(ROOT / 'model-index.yml')['Import']]
ALL = [model for path in METAFILES for model in load(path)['Models']]
TRAINED = [model for model in ALL if 'Weights' in model]
MODELS = [model for model in ALL if model not in TRAINED]  # of the paper
PAPER = (
    'Results reported in the paper; no weights released',
    'Not in the paper; no weights released',
)

of_all_models = pytest.mark.parametrize(
    'model', MODELS, ids=lambda model: model['Name']
)
of_trained_models = pytest.mark.parametrize(
    'model', TRAINED, ids=lambda model: model['Name']
)


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Paths and labels of 24 videos of camera motion."""
    root = tmp_path_factory.mktemp('camera_motion')
    number = dict(new=24)
    CameraMotionDataset.make(str(root), number, speed=(2.0, 18.0), seed=1)
    lines = (root / 'new.txt').read_text().splitlines()
    pairs = [line.split() for line in lines]
    return [(str(root / name), CLASSES[int(label)]) for name, label in pairs]


def test_every_recipe_of_the_paper_is_listed_once():
    folder = ROOT / 'configs'
    recipes = [
        *folder.glob('ata_*_ssv2.py'),
        *folder.glob('ablations/*.py'),
        *(
            path
            for path in folder.glob('ata_*_k400.py')
            if 'neck' not in path.stem
        ),
    ]
    listed = [model['Config'] for model in MODELS]
    assert sorted(listed) == sorted(
        path.relative_to(ROOT).as_posix() for path in recipes
    )


def test_every_metafile_is_imported():
    assert sorted(METAFILES) == sorted(ROOT.glob('configs/*/metafile.yml'))


@pytest.mark.parametrize('path', METAFILES, ids=lambda path: path.parent.name)
def test_collection_is_that_of_its_models(path):
    content = load(path)
    (collection,) = content['Collections']
    assert ROOT / collection['README'] == path.parent / 'README.md'
    assert {m['In Collection'] for m in content['Models']} == {
        collection['Name']
    }


@of_all_models
def test_results_are_marked_as_those_of_the_paper(model):
    assert (ROOT / model['Config']).stem == model['Name']
    assert model['Remarks'] == PAPER['Results' not in model]
    assert not model.keys() & {'Weights', 'Training Log'}


@of_all_models
def test_page_of_the_family_has_the_same_figures(model):
    (metafile,) = [path for path in METAFILES if model in load(path)['Models']]
    link = f'](../{model["Config"][len("configs/") :]})'
    text = (metafile.parent / 'README.md').read_text()
    rows = [line for line in text.splitlines() if link in line]
    for cells in (row.strip('| ').split(' | ') for row in rows):
        figures = model['Metadata']
        assert cells[3] == figures.get('Parameters', '–').rstrip('M')
        assert cells[5] == figures.get('FLOPs', '–').rstrip('G')
    scores = [result['Metrics'] for result in model.get('Results', [])]
    scores = [
        f'{score["Top 1 Accuracy"]} / {score["Top 5 Accuracy"]}'
        for score in scores
    ] or ['– / –']
    assert {row.split(' | ')[2] for row in rows} == set(scores)


def test_every_checkpoint_is_listed():
    files = [ROOT / model['Weights'] for model in TRAINED]
    assert files and sorted(files) == sorted(ROOT.glob('configs/**/*.pth'))


@of_trained_models
def test_checkpoint_is_small_and_has_its_hash(model):
    content = (ROOT / model['Weights']).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert len(content) <= 10**6 and digest == model['SHA256']
    assert model['Weights'].endswith(f'/{model["Name"]}-{digest[:8]}.pth')


@of_trained_models
def test_page_of_the_checkpoints_has_the_same_figures(model):
    page = ROOT / 'configs' / 'camera_motion' / 'README.md'
    (row,) = [
        line
        for line in page.read_text().splitlines()
        if f'`{Path(model["Weights"]).name}`' in line
    ]
    (result,) = model['Results']
    overall, *by_speed = result['Metrics'].values()
    cells = row.strip('| ').split(' | ')
    assert f'](../{model["Name"]}.py)' in cells[0]
    assert cells[1:-1] == [str(value) for value in (*by_speed, overall)]


@of_trained_models
def test_checkpoint_recognises_camera_motion(model, clips):
    path = str(ROOT / model['Weights'])
    recognizer = VideoRecognizer(
        load_config(ROOT / model['Config']), path, 'cpu'
    )
    hits = 0
    for video, label in clips:
        ((found, _),) = recognizer.rank(
            recognizer.score(recognizer.read(video)), 1
        )
        hits += found == label
    assert hits >= 18  # chance is 3; 22 are expected at 93 %


@of_trained_models
def test_checkpoint_has_every_key_of_its_model(model):
    recognizer = VideoRecognizer(
        load_config(ROOT / model['Config']),
        str(ROOT / model['Weights']),
        'cpu',
    )
    saved = torch.load(ROOT / model['Weights'], weights_only=True)
    own = recognizer.inferencer.model.state_dict()
    assert saved['state_dict'].keys() == own.keys()
