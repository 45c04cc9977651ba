"""Every command and every line of Python in docs/files.md runs as it stands there."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_python
from tests.docs.test_pages import run

PAGE = (ROOT / "docs" / "files.md").read_text()
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.slow
def test_the_page_from_top_to_bottom(tmp_path: Path) -> None:
    assert len(COMMANDS) >= 10
    assert len(PYTHON) == 2
    for line in COMMANDS:
        run(line, tmp_path)
    (tmp_path / "page.py").write_text("import os, sys\nos.chdir(sys.argv[1])\n" + "\n".join(PYTHON))
    done = run_python(tmp_path / "page.py", tmp_path)
    assert done.returncode == 0, done.stderr
    least, stderr = map(float, done.stdout.split())
    assert 0 < stderr < least
    for name in ("ref.h5", "dir.h5", "ours.h5", "surface.vtp", "surface.csv", "basins.csv", "persistence.png"):
        assert (tmp_path / name).stat().st_size > 100
