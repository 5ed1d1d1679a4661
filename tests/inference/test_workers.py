"""Questions that other processes prepare: the same file to the last byte, and the same manners as in training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.schema import Speed
from holdfast.errors import HoldfastError
from holdfast.inference.predict import batches, in_order, predict
from holdfast.models.loading import Loaded
from holdfast.predictions.file import read_predictions
from holdfast.speed import ahead
from tests.support import desk
from tests.support.shop import MIXED, ONE, count_opened, ending, family, question, task

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux only")

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 4
CLOSED = tuple(
    replace(example, choices=("red", "dark blue", "no")[: 2 + index % 2]) if index % 3 else example
    for index, example in enumerate(MIXED)
)
"""Questions with options, and some without."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    made = family("llava", tmp_path_factory.mktemp("models"))
    ending(made, MIXED, LIMIT)
    return made


def written(loaded: Loaded, file: Path, workers: int, examples: Any = MIXED, **more: Any) -> tuple[bytes, Any]:
    settings: dict[str, Any] = {"batch_size": 2, "max_new_tokens": LIMIT, **more}
    speed = Speed(workers=workers, **settings.pop("speed", {}))
    report = predict(loaded, task(tuple(examples)), file, speed=speed, **settings)
    assert not multiprocessing.active_children()
    return file.read_bytes(), report


@pytest.mark.parametrize("share", ["auto", "off"])
@pytest.mark.parametrize("options", ["generate", "likelihood"])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_the_same_bytes_with_workers(name: str, options: Any, share: str, tmp_path: Path) -> None:
    loaded = family(name, tmp_path)
    alone, others = (
        written(loaded, tmp_path / f"{n}", n, CLOSED, options=options, speed={"share_images": share}) for n in (0, 2)
    )
    assert alone[0] == others[0] and len(read_predictions(tmp_path / "2")) == len(MIXED)
    assert (alone[1]["workers"].on, others[1]["workers"].on) == (False, True)
    assert {k: v for k, v in alone[1].items() if k != "workers"} == {
        k: v for k, v in others[1].items() if k != "workers"
    }


def test_a_repetition_penalty_sees_the_same_tokens(tmp_path: Path) -> None:
    loaded = family("llava", tmp_path)
    loaded.model.generation_config.repetition_penalty = 1.8  # type: ignore[union-attr]
    alone, others = (written(loaded, tmp_path / f"{n}", n) for n in (0, 2))
    assert alone[0] == others[0] and others[1]["early_stop"].on


def test_pictures_are_opened_by_workers_alone_behind_the_first_batch(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [question(f"q{n}", "what ?", (ONE + n,), f"n{n}") for n in range(9)]
    written(loaded, tmp_path / "compared", 0, many)
    opened = count_opened(monkeypatch)
    for workers, here in ((0, 9), (2, 2)):
        opened.clear()
        written(loaded, tmp_path / f"by{workers}", workers, many)
        assert len(opened) == here


def test_a_picture_that_went_bad_is_named_with_its_item(loaded: Loaded, tmp_path: Path) -> None:
    data = []
    for n in range(6):
        file = desk.picture(tmp_path / f"{n}.png", n)
        data.append(question(f"q{n}", "what ?" + " ?" * n, (file,), str(file)))
    (tmp_path / "4.png").write_bytes(b"no picture")

    def said(workers: int) -> tuple[str, int]:
        with pytest.raises(HoldfastError) as caught:
            written(loaded, tmp_path / f"out{workers}", workers, data)
        assert not multiprocessing.active_children()
        return str(caught.value), len(read_predictions(tmp_path / f"out{workers}"))

    assert said(2) == said(0)
    assert said(2)[0].startswith("item q4: '4.png' is not an image")
    assert said(2)[1] == 4, "what came before it is kept"


def test_a_batch_that_does_not_fit_is_prepared_anew_in_parts(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = written(loaded, tmp_path / "whole", 0, speed={"share_images": "off"}, batch_size=4)
    generate = loaded.model.generate

    def limited(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(**inputs)  # type: ignore[operator]

    monkeypatch.setattr(loaded.model, "generate", limited)
    found, report = written(loaded, tmp_path / "parts", 2, speed={"share_images": "off"}, batch_size=4)
    assert found == expected and report["split_on_oom"].on and report["workers"].on


def test_an_interruption_leaves_no_process_and_loses_one_batch(loaded: Loaded, tmp_path: Path) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(loaded, tmp_path / "cut", 2, advance=stop)
    assert not multiprocessing.active_children()
    assert len(read_predictions(tmp_path / "cut")) == len(next(batches(in_order(MIXED), 2)))
    expected, _ = written(loaded, tmp_path / "whole", 0)
    assert sorted(written(loaded, tmp_path / "cut", 2)[0].splitlines()) == sorted(expected.splitlines())


def test_short_shared_memory_is_no_reason_to_stop(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = written(loaded, tmp_path / "alone", 0)
    monkeypatch.setattr(ahead, "_shared_memory", lambda: 100)
    found, report = written(loaded, tmp_path / "short", 2)
    assert found == expected
    assert not report["workers"] and "to spare for batches" in report["workers"].why


ASKS = """
    import signal
    import sys
    from pathlib import Path
    from holdfast.config.schema import Speed
    from holdfast.data.examples import Example, Turn
    from holdfast.inference.predict import predict
    from holdfast.models.loading import load_model
    from holdfast.stopping import exit_code, raise_when_asked
    from holdfast.tasks.task import Task

    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    raise_when_asked()
    picture = Path(sys.argv[2])
    asked = tuple(Example(f"q{n:06}", (picture,), (Turn(f"what is {n} ?", ("red",)),), "one") for n in range(100_000))
    try:
        predict(
            load_model(sys.argv[1], device="cpu"), Task("asked", (), (), asked), Path(sys.argv[3]),
            batch_size=2, max_new_tokens=2, speed=Speed(workers=2),
        )
    except KeyboardInterrupt:
        sys.exit(exit_code())
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_to_the_whole_job_leaves_whole_lines_and_nobody(sent: int, tiny_llava: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    words = [sys.executable, "-c", textwrap.dedent(ASKS), str(tiny_llava), str(desk.picture(tmp_path / "a.png", 1))]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [*words, str(file)], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not file.exists() or file.read_bytes().count(b"\n") < 6:
        assert started.poll() is None and time.monotonic() < limit, started.communicate()
        time.sleep(0.02)
    os.killpg(started.pid, sent)
    _, err = started.communicate(timeout=60)
    assert started.returncode == (130 if sent == signal.SIGINT else 143), err
    assert "Traceback" not in err
    assert len(read_predictions(file)) >= 6
    with pytest.raises(ProcessLookupError):
        os.killpg(started.pid, 0)  # none of the group is left
