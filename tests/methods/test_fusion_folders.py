"""Fusing model folders: equal to fusing in memory, loadable, small in memory, and refused where models differ."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast.cli.main import run as command
from holdfast.methods.fusion.fisher import FisherAveraging
from holdfast.methods.registry import make_fusion

PROJECT = Path(__file__).resolve().parents[2]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def tune(base: Path, folder: Path, seed: int, *, shard: str = "5GB", dtype: torch.dtype | None = None) -> Path:
    """A copy of ``base`` with noise on the llm and the connector, saved in shards of its own."""
    from transformers import LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(base, dtype=dtype)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if seed and "vision" not in name:
                parameter += 0.01 * torch.randn(parameter.shape, generator=random).to(parameter.dtype)
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json"))
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


@pytest.fixture(scope="module")
def folders(tiny_llava: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A base in seven or so shards, one tuned model in other shards, one in a single file."""
    home = tmp_path_factory.mktemp("fusion")
    base = tune(tiny_llava, home / "base", 0, shard="40KB")
    first, second = tune(tiny_llava, home / "one", 1, shard="25KB"), tune(tiny_llava, home / "two", 2)
    assert len(list(base.glob("*.safetensors"))) > 3 and (base / "model.safetensors.index.json").exists()
    assert len(list(first.glob("*.safetensors"))) > len(list(base.glob("*.safetensors")))
    return base, first, second


@pytest.mark.parametrize(
    ("method", "count", "options"),
    [
        ("wise_ft", 1, {"alpha": 0.7}),
        ("dare", 1, {"drop": 0.6}),
        ("dare", 2, {"drop": 0.6}),
        ("ties", 1, {"keep": 0.2}),
        ("ties", 2, {"keep": 0.3, "strength": 0.8}),
        ("magnitude", 1, {"drop": 0.75}),
        ("task_arithmetic", 2, {"strength": 0.5}),
        ("pcb", 2, {"keep": 0.2}),
        ("cart", 2, {"rank": 0.3}),
        ("emr", 2, {"expert": 2}),
        ("twin_merging", 2, {"thin": "magnitude"}),
    ],
)
def test_folders_fuse_as_memory_does_bit_for_bit(
    method: str, count: int, options: dict[str, Any], folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    base, tuned = folders[0], folders[1 : 1 + count]
    sets = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    out = tmp_path / "out"
    assert command(["fuse", str(base), *map(str, tuned), "--method", method, *sets, "--out", str(out)]) == 0
    expected = make_fusion(method, options).fuse(
        weights(base), [weights(folder) for folder in tuned], torch.Generator().manual_seed(0)
    )
    found = weights(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    changed = [name for name, tensor in weights(base).items() if not torch.equal(tensor, found[name])]
    assert changed and not any("vision" in name for name in changed)
    files = {file.name for file in base.iterdir()}
    assert {file.name for file in out.iterdir()} == files | {"fusion.json"}
    for file in base.iterdir():
        if file.suffix == ".safetensors":
            assert (out / file.name).stat().st_size == file.stat().st_size
        else:
            assert (out / file.name).read_bytes() == file.read_bytes()
    record = json.loads((out / "fusion.json").read_text(encoding="utf-8"))
    assert record["fusion"] == method and options.items() <= record["options"].items()


def test_the_result_loads_and_answers_in_plain_transformers(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    base, tuned, _ = folders
    logits = []
    for alpha in (0.0, 0.5, 1.0):
        out = tmp_path / f"out{alpha}"
        words = ["fuse", str(base), str(tuned), "--method", "wise_ft", "--set", f"alpha={alpha}", "--out", str(out)]
        assert command(words) == 0
        model = AutoModelForImageTextToText.from_pretrained(out).eval()
        AutoProcessor.from_pretrained(out)
        ids = torch.arange(10, 30)[None]
        with torch.no_grad():
            logits.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)
    for folder, found in ((base, logits[0]), (tuned, logits[2])):
        plain = AutoModelForImageTextToText.from_pretrained(folder).eval()
        with torch.no_grad():
            wanted = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(logits[1], logits[0]) and not torch.allclose(logits[1], logits[2])


def test_a_half_precision_base_stays_half_precision(tiny_llava: Path, tmp_path: Path) -> None:
    base = tune(tiny_llava, tmp_path / "base", 0, dtype=torch.bfloat16)
    tuned = tune(tiny_llava, tmp_path / "tuned", 1)
    assert command(["fuse", str(base), str(tuned), "--method", "ties", "--out", str(tmp_path / "out")]) == 0
    found, expected = weights(tmp_path / "out"), make_fusion("ties", {}).fuse(
        weights(base), weights(tuned), torch.Generator().manual_seed(0)
    )  # fmt: skip
    assert all(found[n].dtype == torch.bfloat16 and torch.equal(found[n], expected[n]) for n in expected)


def test_fisher_from_files(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    base, tuned, _ = folders
    random = torch.Generator().manual_seed(0)
    information = [{n: torch.rand(t.shape, generator=random) for n, t in weights(base).items()} for _ in range(2)]
    for place, tensors in zip(("f0", "f1"), information, strict=True):
        save_file(tensors, tmp_path / f"{place}.safetensors")
    words = ["fuse", str(base), str(tuned), "--method", "fisher", "--out", str(tmp_path / "out")]
    files = ["--fisher-base", str(tmp_path / "f0.safetensors"), "--fisher-tuned", str(tmp_path / "f1.safetensors")]
    assert command([*words, *files]) == 0
    fusion = make_fusion("fisher", {})
    assert isinstance(fusion, FisherAveraging)
    fusion.inform(information[0], information[1:])
    expected = fusion.fuse(weights(base), weights(tuned), torch.Generator())
    found = weights(tmp_path / "out")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_memory_stays_below_the_largest_shard_and_one_tensor(tmp_path: Path) -> None:
    """Two experts on a base of 160 MB in two shards: a process grows by less than one shard and one tensor."""
    for number, place in enumerate(("base", "one", "two")):
        folder = tmp_path / place
        folder.mkdir()
        random = torch.Generator().manual_seed(number)
        for shard in range(2):
            tensors = {f"w{shard}.{k}": torch.randn(5_000, 1_000, generator=random) for k in range(4)}
            save_file(tensors, folder / f"model-{shard}.safetensors", metadata={"format": "pt"})
    code = f"""
        from pathlib import Path
        from holdfast.methods.registry import make_fusion
        from holdfast.methods.fusion.folders import fuse_folders

        def peak():
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            return int(status.split("VmHWM:")[1].split()[0]) * 1024

        fusion = make_fusion("ties", {{"keep": 0.2}})
        home = Path({str(tmp_path)!r})
        before = peak()
        fuse_folders(home / "base", [home / "one", home / "two"], fusion, home / "out")
        print(peak() - before)
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory of a process is read from /proc")
    environment = {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    grown = int(subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                               check=True, env=environment).stdout)  # fmt: skip
    shard, tensor = 80_000_000, 20_000_000
    print(f"grown by {grown / 1e6:.1f} MB")
    assert 1_000_000 < grown < shard + tensor
    shutil.rmtree(tmp_path / "one")  # half a gigabyte would stay in the test folder otherwise
    shutil.rmtree(tmp_path / "two")


def refuse(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert command(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("holdfast: ") and "Traceback" not in text
    return " ".join(text.split())


def copy_with(folder: Path, out: Path, edit: Any) -> Path:
    out.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors" and "index" not in file.name:
            shutil.copyfile(file, out / file.name)
    tensors = weights(folder)
    edit(tensors)
    save_file({n: t.contiguous() for n, t in tensors.items()}, out / "model.safetensors", metadata={"format": "pt"})
    return out


def test_models_that_differ_are_refused_by_the_first_difference(
    folders: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, tuned, _ = folders
    name = sorted(weights(base))[3]
    missing = copy_with(tuned, tmp_path / "missing", lambda tensors: tensors.pop(name))
    wide = copy_with(tuned, tmp_path / "wide", lambda tensors: tensors.update({name: torch.zeros(3, 3)}))
    nan = copy_with(tuned, tmp_path / "nan", lambda tensors: tensors[name].view(-1)[:1].fill_(float("nan")))
    other = copy_with(tuned, tmp_path / "other", lambda tensors: None)
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps(config | {"model_type": "qwen2_vl"}), encoding="utf-8")
    out = tmp_path / "out"

    def fuse(folder: Path | str, *more: str, method: str = "wise_ft") -> str:
        text = refuse(["fuse", str(base), str(folder), "--method", method, "--out", str(out), *more], capsys)
        assert not out.exists() and not out.with_name("out.partial").exists()
        return text

    assert f"'{name}' stands in" in fuse(missing) and "not in" in fuse(missing)
    assert f"'{name}' is [" in fuse(wide) and "[3, 3] here" in fuse(wide)
    assert "not finite" in fuse(nan)
    assert "model_type is llava" in fuse(other)
    assert "no such folder" in fuse(tmp_path / "nowhere")
    assert "takes 1 tuned model, and 2 were given" in fuse(tuned, str(tuned))
    assert "Did you mean 'wise_ft'" in fuse(tuned, method="wiseft")
    assert "no option 'alfa'" in fuse(tuned, "--set", "alfa=0.3")
    assert "'alpha' is 1.5" in fuse(tuned, "--set", "alpha=1.5")
    assert "training examples" in fuse(tuned, method="model_tailor")
    assert "Fisher information" in fuse(tuned, method="fisher")
    assert "uses no Fisher information" in fuse(tuned, "--fisher-base", "x.safetensors")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("model: pocket\ntarget: pocket:digits\n", encoding="utf-8")
    assert "the run was tuned from pocket" in fuse(run)
    damaged = copy_with(tuned, tmp_path / "damaged", lambda tensors: None)
    whole = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in fuse(damaged)
    out.mkdir()
    assert "exists already" in refuse(["fuse", str(base), str(tuned), "--method", "ties", "--out", str(out)], capsys)


def test_an_interrupted_fusion_leaves_nothing(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.methods.fusion.folders import fuse_folders

    base, tuned, _ = folders

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse_folders(base, [tuned], make_fusion("wise_ft", {}), tmp_path / "out", advance=stop)
    assert not list(tmp_path.iterdir())
