"""How questions are asked can be chosen, changes no answer, and is written down."""

from __future__ import annotations

from typing import Any

from tests.support.desk import Desk, changed, records, write_lines


def two_an_image(**more: Any) -> list[dict[str, Any]]:
    """Two questions about each picture."""
    rows = [changed(row, **more) for row in records()]
    return rows + [changed(row, id=f"second {row['id']}", question="what is it like ?") for row in rows]


def test_a_run_writes_down_how_it_asked(desk: Desk) -> None:
    rows = two_an_image()
    said = desk.tune_on(rows, target={"data": "data.jsonl", "test": 0.5}, evaluate={"max_new_tokens": 3})
    assert said.code == 0, said.err
    engaged = desk.json("run/environment.json")["engaged"]
    assert "share_images" in engaged, "what training wrote is kept"
    for who in ("base", "tuned"):
        report = engaged["evaluation"]["data"][who]
        assert report["share_images"]["on"] and report["early_stop"]["on"], report
    write_lines(desk.data, rows)
    file = desk.config(
        "off.yaml", target={"data": "data.jsonl", "test": 0.5}, evaluate={"max_new_tokens": 3},
        speed={"share_images": False},
    )  # fmt: skip
    (desk.folder / ".base").rename(desk.folder / ".other")
    said = desk.tune(config=file, out="off")
    assert said.code == 0, said.err
    assert not desk.json("off/environment.json")["engaged"]["evaluation"]["data"]["base"]["share_images"]["on"]
    first, second = ((desk.folder / run / "base/predictions/data.jsonl").read_bytes() for run in ("run", "off"))
    assert first == second


def test_options_have_base_predictions_of_their_own(desk: Desk) -> None:
    rows = two_an_image(choices=["red", "blue", "green"])
    target = {"data": "data.jsonl", "test": 0.5}
    assert desk.tune_on(rows, target=target).code == 0
    way = {"max_new_tokens": 2, "options": "likelihood"}
    said = desk.tune(config=desk.config("likely.yaml", target=target, evaluate=way), out="likely")
    assert said.code == 0, said.err
    names = sorted(file.name for file in (desk.folder / ".base").rglob("*.jsonl"))
    assert len(names) == 2 and names[0].removesuffix("-likelihood.jsonl") == names[1].removesuffix(".jsonl")
    report = desk.json("likely/environment.json")["engaged"]["evaluation"]["data"]["tuned"]
    assert report["likelihood"]["on"] and report["share_images"]["on"]


def test_eval_takes_both_switches(desk: Desk) -> None:
    write_lines(desk.data, two_an_image(choices=["red", "blue", "green"]))

    def ask(out: str, *words: str) -> Any:
        return desk.run(
            "eval", desk.model, "--tasks", desk.data, "--out", desk.folder / out, "--max-new-tokens", "2", *words
        )

    assert ask("shared", "--share-images").code == 0
    assert ask("plain", "--no-share-images").code == 0
    files = [(desk.folder / out / "predictions/data.jsonl").read_bytes() for out in ("shared", "plain")]
    assert files[0] == files[1]
    assert desk.json("shared/evaluation.json")["engaged"]["data"]["share_images"]["on"]
    assert not desk.json("plain/evaluation.json")["engaged"]["data"]["share_images"]["on"]
    ask("shared", "--options", "likelihood").refused("asked in another way")
    said = ask("likely", "--options", "likelihood")
    assert said.code == 0, said.err
    assert desk.json("likely/evaluation.json")["engaged"]["data"]["likelihood"]["on"]
    assert ask("likely", "--options", "likelihood").code == 0
    assert desk.json("likely/evaluation.json")["engaged"]["data"]["likelihood"]["on"], "a call without work keeps it"
