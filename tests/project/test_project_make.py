"""What `make` and CI say to the tests reaches them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tests_see_the_variables_that_are_set_for_them(tmp_path: Path) -> None:
    said = (ROOT / "Makefile").read_text() + (ROOT / ".ci" / "run").read_text()
    names = sorted(set(re.findall(r"\b(FLOWTIME_[A-Z_]+)=", said)))
    assert "FLOWTIME_RACE_ROUNDS" in names
    (tmp_path / "test_seen.py").write_text(
        f"import os\n\ndef test_seen():\n    assert [n for n in {names} if os.environ.get(n) != '5'] == []\n"
        "    assert 'FLOWTIME_ARTIFACTS' not in os.environ\n"
    )
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys([*names, "FLOWTIME_ARTIFACTS"], "5")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
