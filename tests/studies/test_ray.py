"""Ray as the crew: a cluster of one machine with two workers, one of which is killed, finishes the study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from holdfast.results.points import read_results
from tests.support.studying import made, write

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import sys
from pathlib import Path
from holdfast.studies.engine import Engine
from holdfast.studies.ray_crew import RayCrew
from holdfast.studies.studyfile import read_study_file
from tests.support.studying import {performer}

folder = Path(sys.argv[2])
work = Engine(read_study_file(Path(sys.argv[1])), folder)
work.run(RayCrew(folder, 2, performer={performer}))
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install holdfast[ray]")
def test_a_study_survives_a_worker_that_is_killed(tmp_path: Path) -> None:
    file, folder = write(tmp_path / "s.yaml", select=None), tmp_path / "out"
    (tmp_path / "once").touch()  # the worker that meets the first point of ia3 kills itself there, once
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(performer="Dies"), encoding="utf-8")
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    environment = os.environ | {"PYTHONPATH": paths, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    process = subprocess.Popen(
        [sys.executable, str(program), str(file), str(folder)], cwd=tmp_path, env=environment, start_new_session=True
    )
    try:
        assert process.wait(timeout=300) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (tmp_path / "once").read_text("utf-8") == "died"
    results = read_results(folder)
    assert [point.state for point in results.points] == ["finished"] * 12
    assert sorted(want for log in made(folder).values() for want in log) == ["artifact"] * 3 + ["scores"] * 12
