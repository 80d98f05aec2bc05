# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.


def test_import_without_mmcv_names_the_package_to_install(python):
    done = python("import sys; sys.modules['mmcv'] = None; import ata_mm")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: ata_mm needs mmcv-lite 2.1.0 or mmcv')
