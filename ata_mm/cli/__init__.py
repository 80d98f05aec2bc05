# Copyright (c) ata_mm contributors. Licensed under Apache-2.0.
"""Code shared by the command line tools."""
