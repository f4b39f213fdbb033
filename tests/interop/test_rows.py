"""PROTOCOL part A, row by row, against either server."""
import json
import os

import pytest

import a1_transport  # noqa: F401  (each adds its rows)
import a2_messages  # noqa: F401
import a3_states  # noqa: F401
import a5_rooms  # noqa: F401
import a7_encryption  # noqa: F401
import a8_redis  # noqa: F401
from rows import ROWS, compare


@pytest.mark.parametrize("row", ROWS, ids=[r.name.replace(" ", "-") for r in ROWS])
async def test_row(row, genuine, heliod, record_property):
    theirs = await row.do(genuine.begin())
    ours = await row.do(heliod.begin())
    if os.environ.get("INTEROP_SHOW"):
        print(json.dumps({"genuine": theirs, "heliod": ours}, indent=1, ensure_ascii=False))
    record_property(row.name, compare(row, theirs, ours))
