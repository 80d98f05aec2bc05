# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""model-index.yml, the metafiles that it imports, and the pages of the
families."""

from pathlib import Path

import pytest
from mmengine.fileio import load

ROOT = Path(__file__).resolve().parents[1]
METAFILES = [ROOT / path for path in load(ROOT / 'model-index.yml')['Import']]
MODELS = [model for path in METAFILES for model in load(path)['Models']]
PAPER = (
    'Results reported in the paper; no weights released',
    'Not in the paper; no weights released',
)

of_all_models = pytest.mark.parametrize(
    'model', MODELS, ids=lambda model: model['Name']
)


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
