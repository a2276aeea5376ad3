"""Runs the sample's notebook under a real ipykernel, against the gateway of FEATURELOFT_DATA, and checks what it found.

    FEATURELOFT_DATA=DIR python test/notebook/run_notebook.py

Exit code 0 and one JSON line {cells, seconds, score, alone} on stdout, or 1 and what went wrong on stderr. The
notebook's own file is not changed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

NOTEBOOK = Path(__file__).parents[2] / "examples" / "nycflights" / "train.ipynb"
CELL_SECONDS = 300
KERNEL_SECONDS = 60
RESULT = re.compile(r"ROC AUC (0\.\d+) with the features, (0\.\d+) without")


def main() -> int:
    data = os.environ.get("FEATURELOFT_DATA")
    if not data:
        return fail("FEATURELOFT_DATA is not set: it names the data folder of the gateway to run against.")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    began = time.monotonic()
    client = NotebookClient(notebook, timeout=CELL_SECONDS, startup_timeout=KERNEL_SECONDS, kernel_name="python3")
    try:
        client.execute()
    except CellExecutionError as error:
        return fail(f"A cell failed:\n{error}")
    except (CellTimeoutError, DeadKernelError, RuntimeError) as error:
        return fail(f"The notebook was not run to its end: {error}")
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stdout"
    )
    found = RESULT.search(printed)
    if found is None:
        return fail(f"The notebook printed no score:\n{printed}")
    score, alone = float(found[1]), float(found[2])
    if not 0.5 < alone < score < 1:
        return fail(f"The features do not help: {found[0]}")
    if "PRESENT" not in printed:
        return fail(f"The online read found no value:\n{printed}")
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(json.dumps({"cells": cells, "seconds": round(time.monotonic() - began, 1), "score": score, "alone": alone}))
    return 0


def fail(words: str) -> int:
    print(words, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
