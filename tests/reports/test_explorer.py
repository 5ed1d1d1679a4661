import base64
import gzip
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from PIL import Image

from holdfast.errors import HoldfastError
from holdfast.predictions.record import Prediction
from holdfast.reports.explorer import Section, payload, write_report
from holdfast.reports.explorer.payload import inert
from holdfast.reports.explorer.thumbnails import ImageFinder, Thumbnails, thumbnail
from holdfast.verdict.compare import compare

NASTY = (
    "<script>document.title='owned'</script><!-- </script><img src=x onerror=\"document.title='owned'\">&amp;\u2028'"
)


def item(index, score, task="t", text="ans", **fields):
    defaults = {
        "question": f"question {index}?",
        "references": ("yes",),
        "metric": "exact_match",
        "prediction": f"{text} {index}",
    }
    return Prediction(id=f"q{index}", score=score, task=task, **(defaults | fields))


def compared(before, after, **fields):
    return compare(
        {"t": [item(i, s, text="base", **fields) for i, s in enumerate(before)]},
        {"t": [item(i, s, text="tuned", **fields) for i, s in enumerate(after)]},
    )


class Page(HTMLParser):
    """Elements, attributes and the data of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.data, self.texts, self._script = [], [], {}, [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not any(name.startswith("on") for name in attributes)
        self._script = attributes.get("id") or "code" if tag in ("script", "style") else None
        if tag == "script" and "id" in attributes:
            self.data[attributes["id"]] = [attributes["type"], ""]

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, text):
        if self._script in self.data:
            self.data[self._script][1] += text
        elif self._script is None:
            self.texts.append(text)

    def block(self, name):
        kind, text = self.data[name]
        if kind == "application/gzip":
            text = gzip.decompress(base64.b64decode(text)).decode("utf-8")
        return json.loads(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def page_of(path):
    return Page(path.read_text(encoding="utf-8"))


def test_every_item_is_in_the_page(tmp_path) -> None:
    path = write_report(tmp_path / "r.html", "My run", {"full": compared([1, 1, 0, 0], [1, 0, 1, 0])})
    page = page_of(path)
    task = page.block("index")["recipes"][0]["tasks"][0]
    assert task["counts"] == {"forgot": 1, "learned": 1, "kept": 1, "never": 1}
    shared, own = page.block(task["shared"]), page.block(task["own"])
    assert shared["id"] == ["q0", "q1", "q2", "q3"] and own["outcome"] == [2, 0, 1, 3]
    assert shared["answer"][1] == "base 1" and own["answer"][1] == "tuned 1"
    assert "My run" in page.text and "forgotten" in page.text


def test_nothing_is_asked_of_any_network(tmp_path) -> None:
    path = write_report(tmp_path / "r.html", "t", {"a": compared([1, 0], [0, 1])})
    html = path.read_text(encoding="utf-8")
    assert all(link.startswith(("#", "data:")) for link in page_of(path).links)
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert "default-src 'none'" in html


@pytest.fixture
def nasty(tmp_path):
    fields = {
        "question": NASTY,
        "references": (NASTY,),
        "choices": (NASTY,),
        "image": NASTY,
        "metric": NASTY,
        "status": NASTY,
    }
    sides = [
        {NASTY: [Prediction(id=NASTY, prediction=NASTY + side, task=NASTY, score=score, **fields)]}
        for side, score in (("a", 1.0), ("b", 0.0))
    ]
    sections = [Section(NASTY, text=NASTY, columns=(NASTY,), rows=[(NASTY,)], preformatted=NASTY, caption=NASTY)]
    return write_report(tmp_path / "nasty.html", NASTY, {NASTY: compare(*sides)}, sections=sections)


def test_text_of_every_field_stays_text(nasty) -> None:
    html = nasty.read_text(encoding="utf-8")
    page = page_of(nasty)
    assert "<script>document" not in html and "<img src=x" not in html
    assert page.tags.count("script") == 2 + len(page.block("index")["recipes"][0]["tasks"]) * 2 + 1
    task = page.block("index")["recipes"][0]["tasks"][0]
    assert task["name"] == NASTY
    shared = page.block(task["shared"])
    assert shared["question"] == [NASTY] and shared["references"] == [[NASTY]] and shared["choices"] == [[NASTY]]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_a_browser_shows_the_items_and_runs_nothing_from_them(nasty, tmp_path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'u'}"]
    command = ["chromium", *flags, "--virtual-time-budget=3000", "--dump-dom", nasty.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "<title>owned</title>" not in dom
    listed = dom[dom.index('id="list"') :]
    assert "&lt;script&gt;" in listed[: listed.index("</ol>")]  # the item is shown, as text
    assert "1 forgotten item" in dom


def test_long_columns_are_compressed_and_read_back(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(payload, "COMPRESS_FROM", 2_000)
    path = write_report(tmp_path / "r.html", "t", {"a": compared([1] * 300, [0] * 300)})
    page = page_of(path)
    task = page.block("index")["recipes"][0]["tasks"][0]
    assert page.data[task["shared"]][0] == "application/gzip"
    assert page.block(task["shared"])["id"][:11] == [f"q{i}" for i in range(11)]


def test_recipes_share_their_base_columns(tmp_path) -> None:
    runs = {name: compared([1, 1, 0, 0], after) for name, after in {"a": [1, 0, 1, 0], "b": [1, 1, 1, 0]}.items()}
    tasks = [
        recipe["tasks"][0] for recipe in page_of(write_report(tmp_path / "r.html", "t", runs)).block("index")["recipes"]
    ]
    assert tasks[0]["shared"] == tasks[1]["shared"] and tasks[0]["own"] != tasks[1]["own"]


def test_beyond_the_cap_every_flip_stays_and_the_page_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(payload, "MOST_ITEMS", 100)
    path = write_report(tmp_path / "r.html", "t", {"a": compared([1] * 1000, [0] * 37 + [1] * 963)})
    page = page_of(path)
    task = page.block("index")["recipes"][0]["tasks"][0]
    outcomes = page.block(task["own"])["outcome"]
    assert outcomes.count(0) == 37 and len(outcomes) < 150
    assert task["counts"]["kept"] == 963 and "one in 10 of the others" in page.text


def test_pictures_of_any_kind_become_small(tmp_path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for mode, name in (("RGBA", "a.png"), ("P", "b.png"), ("L", "c.png"), ("I;16", "d.png"), ("RGB", "e.jpg")):
        Image.new(mode, (640, 400)).save(folder / name)
    Image.new("RGB", (32, 32), "red").save(folder / "tiny.png")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    pictures = Thumbnails([folder])
    indices = [pictures.index_of(key) for key in ("a", "b.png", "c", "d", "e", "tiny", str(folder / "a.png"))]
    assert min(indices) >= 0 and len(pictures.pictures) < 7  # black ones are one picture
    assert pictures.index_of("broken") == pictures.index_of("nothing") == pictures.index_of(None) == -1
    assert thumbnail(folder / "tiny.png").startswith("data:image/png")
    assert all(len(uri) < 12_000 for uri in pictures.pictures)
    assert ImageFinder([folder]).find("tiny|e") == folder / "tiny.png"
    assert pictures.finder.refused == 0


@pytest.fixture
def elsewhere(tmp_path):
    """A root with one picture, and a picture that is none of its business."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    root.mkdir(), secret.mkdir()
    Image.new("RGB", (8, 8), "red").save(root / "mine.png")
    Image.new("RGB", (8, 8), "blue").save(secret / "theirs.png")
    (root / "link.png").symlink_to(secret / "theirs.png")
    (root / "linked").symlink_to(secret)
    return root


@pytest.mark.parametrize("key", ["../secret/theirs.png", "link.png", "link", "linked/theirs.png", "{absolute}"])
def test_a_prediction_file_brings_no_picture_from_elsewhere(elsewhere, key) -> None:
    pictures = Thumbnails([elsewhere])
    key = key.format(absolute=elsewhere.parent / "secret" / "theirs.png")
    assert pictures.index_of(key) == -1 and not pictures.pictures
    assert pictures.finder.refused == 1
    sides = [{"t": [item(0, score, image=key), item(1, 1, image="mine")]} for score in (1, 0)]
    made = payload.build_payload({"a": compare(*sides)}, Thumbnails([elsewhere]))
    assert len(json.loads(made.blocks[made.index["pictures"]][0])) == 1
    assert "--images" in made.notes[0] and "secret" not in made.notes[0]


def test_a_picture_below_the_named_root_may_be_named_absolutely(elsewhere) -> None:
    assert Thumbnails([elsewhere]).index_of(str(elsewhere / "mine.png")) == 0


def test_only_the_formats_of_examples_are_opened(tmp_path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "real.eps")
    shutil.copy(tmp_path / "real.eps", tmp_path / "drawing.png")  # PostScript, which Pillow would run a program for
    Image.new("RGB", (8, 8), "red").save(tmp_path / "icon.ico")
    shutil.copy(tmp_path / "icon.ico", tmp_path / "icon.png")
    Image.new("1", (8_200, 8_200)).save(tmp_path / "large.png")  # 67 million pixels
    assert [thumbnail(tmp_path / name) for name in ("drawing.png", "icon.png", "large.png")] == [None] * 3
    pictures = Thumbnails([tmp_path])
    assert pictures.index_of("drawing.png") == pictures.index_of("large") == -1


def test_the_cap_on_pictures_keeps_the_forgotten(tmp_path) -> None:
    for index in range(6):
        Image.new("RGB", (16, 16), (40 * index, 0, 0)).save(tmp_path / f"im{index}.png")
    pairs = [(0, 0), (1, 1), (1, 0), (0, 1), (1, 0), (1, 1)]
    sides = [{"t": [item(i, pair[side], image=f"im{i}") for i, pair in enumerate(pairs)]} for side in (0, 1)]
    pictures = Thumbnails([tmp_path], most=3)
    made = payload.build_payload({"a": compare(*sides)}, pictures)
    shared = json.loads(made.blocks[made.index["recipes"][0]["tasks"][0]["shared"]][0])
    assert [at >= 0 for at in shared["image"]] == [False, False, True, True, True, False]
    assert "3 images" in made.notes[0]


def test_sections_and_a_clean_write(tmp_path) -> None:
    picture = tmp_path / "p.svg"
    picture.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", encoding="utf-8")
    section = Section("Recipes", columns=("recipe", "E"), rows=[("full", "+3.1")], picture=picture, caption="the front")
    path = write_report(tmp_path / "deep" / "r.html", "t", {"a": compared([1, 0], [1, 0])}, sections=[section])
    page = page_of(path)
    assert "Recipes" in page.text and "+3.1" in page.text and "the front" in page.text
    assert any(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert [entry.name for entry in path.parent.iterdir()] == ["r.html"]
    with pytest.raises(HoldfastError, match="at least one"):
        write_report(path, "t", {})


def test_inert_json_reads_back() -> None:
    assert json.loads(inert({"a": NASTY})) == {"a": NASTY}
    assert not set("<>&\u2028") & set(inert({"a": NASTY}))


def test_long_answers_keep_their_end_and_the_place_that_was_read() -> None:
    text = "Let me think. " * 200 + "I choose B here. " + "And so on. " * 200 + "Done."
    shown = payload._clip(text, "I choose B")
    assert len(shown) < 2_000 and shown.startswith("Let me think.") and shown.endswith("Done.")
    assert "I choose B here." in shown and "characters not shown" in shown
    assert payload._clip("short", "s") == "short"
    assert payload._clip(text).endswith("Done.") and "I choose B" not in payload._clip(text)


def test_what_was_read_from_an_answer_is_in_the_page(tmp_path) -> None:
    sides = [
        {
            "t": [
                item(0, 1, prediction=f"The answer is {letter}.", parsed=letter),
                item(1, 1, prediction="C", parsed="C"),
            ]
        }
        for letter in "AB"
    ]
    page = page_of(write_report(tmp_path / "r.html", "t", {"a": compare(*sides)}))
    task = page.block("index")["recipes"][0]["tasks"][0]
    assert page.block(task["shared"])["parsed"] == ["A", None] and page.block(task["own"])["parsed"] == ["B", None]


def test_image_marks_and_boilerplate_are_folded_away() -> None:
    framed = [f"<image>\nWhat is {thing}?\nAnswer with one word." for thing in ("this", "that", "it")]
    assert payload.frame(framed) == ("<image>\n", "Answer with one word.")
    assert payload.frame([q.replace("\n", " ") for q in framed]) == ("<image> ", "Answer with one word.")
    assert payload.frame(["What colour is the cat?", "What colour is the dog?"]) == ("", "")
    assert payload.frame(["Is it red? Say yes.", "Say yes."]) == ("", "")
    assert payload.frame(["Is it red?"]) == ("", "")


def test_the_page_names_the_rule_and_what_cannot_show_forgetting(tmp_path) -> None:
    comparison = compared([0, 0, 0], [0, 0, 0])
    page = page_of(write_report(tmp_path / "r.html", "t", {"a": comparison}))
    assert comparison.rule in page.text and "cannot show forgetting" in page.text
    assert "change on the sources" not in page.text  # F is undefined
    other = page_of(write_report(tmp_path / "s.html", "t", {"a": compared([1, 1, 0], [1, 0, 1])}))
    assert "change on the sources" in other.text and "not shown" in other.text
