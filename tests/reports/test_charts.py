"""Charts by hand: scales, ticks, marks and names, against what a ruler would say."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from holdfast.reports.charts.forest import forest_row, forest_scale
from holdfast.reports.charts.front import pareto_front
from holdfast.reports.charts.gains import CROWD, GainMark, gains_chart
from holdfast.reports.charts.labels import Box, place_labels, text_width
from holdfast.reports.charts.lines import Axes, LinePoint, Series, lines_chart
from holdfast.reports.charts.slopes import Slope, slopes_panel
from holdfast.reports.charts.svg import (
    PARADIGMS,
    Scale,
    element,
    reach,
    shape,
    spanning,
)

NASTY = '</svg><script>alert("1")</script>&\u2028\n'


def tree(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_a_scale_is_linear_or_logarithmic_and_its_ticks_are_round() -> None:
    scale = Scale(-40, 10, 100, 600)
    assert (scale.at(-40), scale.at(10), scale.at(-15)) == (100, 600, 350)
    assert scale.ticks(5) == [-40, -30, -20, -10, 0, 10]
    assert scale.clipped(99) == 600 and scale.clipped(-99) == 100
    steps = Scale(1, 100, 0, 2, logarithmic=True)
    assert steps.at(10) == pytest.approx(1) and steps.ticks(4) == [1, 2, 5, 10, 20, 50, 100]
    assert Scale(0.031, 9.5, 0, 1, logarithmic=True).ticks(3)[0] >= 0.031
    for low, high in ((0, 1), (-0.37, 0.21), (3, 4_700), (-2e-4, 9e-4)):
        ticks = Scale(low, high).ticks(5)
        assert 3 <= len(ticks) <= 8 and low <= ticks[0] and ticks[-1] <= high


def test_a_span_of_one_value_has_length_and_intervals_cannot_take_the_picture() -> None:
    assert spanning([3.0], start=0, end=1).high > spanning([3.0], start=0, end=1).low
    assert reach([0, 40], [(-500, 500), None]) == [-10, 50]
    assert reach([0, 40], [(-2, 41)]) == [-2, 41]


def test_texts_and_attributes_are_escaped() -> None:
    made = element("text", NASTY, data_tip=NASTY, class_="a", x=1.50, y=None)
    assert "<script" not in made
    read = tree(made)
    assert (read.text or "").strip() == NASTY.strip() and read.attrib["data-tip"].startswith("</svg>")
    assert read.attrib["x"] == "1.5" and "y" not in read.attrib
    mark = GainMark(NASTY, 0, "additive", -3, 20, (-5, -1), (10, 30), "#run=1")
    chart = gains_chart("g", [mark], interval_words=NASTY, where=NASTY)
    assert "<script" not in chart.wide and tree(chart.wide) is not None and tree(chart.narrow) is not None


def test_every_paradigm_has_a_shape_of_its_own() -> None:
    drawn = [str(shape(paradigm, 10.0, 10.0, 5.0)) for paradigm in PARADIGMS]
    assert len({re.sub(r'class="[^"]*"', "", one) for one in drawn}) == len(PARADIGMS)


def test_names_never_lie_on_each_other_or_on_marks() -> None:
    draw = random.Random(3)
    marks = [(f"recipe {i}", draw.uniform(60, 540), draw.uniform(40, 340)) for i in range(40)]
    within = Box(0, 0, 600, 400)
    placed = place_labels(marks, within)
    assert 25 <= len(placed) <= 40
    boxes = []
    for name, x, y, anchor in placed:
        width = text_width(name)
        left = {"start": x, "end": x - width, "middle": x - width / 2}[anchor]
        boxes.append(Box(left, y - 10, left + width, y + 2))
    for at, box in enumerate(boxes):
        assert not any(box.hits(other) for other in boxes[:at])
        assert within.left <= box.left and box.right <= within.right
        assert not any(box.hits(Box(x - 2, y - 2, x + 2, y + 2)) for _, x, y in marks)


def test_no_name_is_struck_through_by_a_line() -> None:
    """Twelve recipes of one study and the line over the best: no point of it lies in a name."""
    across = [-25.4, -11.8, -5.1, -4.5, -0.5, -1.8, -10.1, -37.7, -0.3, -8.8, -5.6, -26.3]
    up = [89.8, 86.6, 79.8, 89.2, 83.6, 76.6, 84.8, 72.8, 61.4, 63.8, 0.0, 78.6]
    names = [
        "full",
        "wise_ft",
        "full_low",
        "replay",
        "spider",
        "magnitude",
        "half",
        "connector",
        "lora",
        "adapter",
        "prefix",
        "ia3",
    ]
    marks = [(name, 640 + 14.5 * x, 370 - 3.7 * y) for name, x, y in zip(names, across, up, strict=True)]
    front = [marks[i][1:] for i in pareto_front(list(zip(across, up, strict=True)))]
    lines = [(*one, *other) for one, other in pairwise(front)]

    def struck(lines_known: list[tuple[float, float, float, float]]) -> set[str]:
        placed = place_labels(marks, Box(0, 0, 700, 400), lines=lines_known, every=True)
        assert sorted(name for name, *_ in placed) == sorted(names)
        found = set()
        for name, x, y, anchor in placed:
            left = x - text_width(name) * {"start": 0, "end": 1, "middle": 0.5}[anchor]
            for from_x, from_y, to_x, to_y in lines:
                for step in range(1001):
                    at = from_x + (to_x - from_x) * step / 1000, from_y + (to_y - from_y) * step / 1000
                    if left < at[0] < left + text_width(name) and y - 10 < at[1] < y + 2:
                        found.add(name)
        return found

    assert struck([]), "the line is in somebody's way"
    assert not struck(lines)


def test_the_front_is_what_no_point_beats() -> None:
    draw = random.Random(1)
    points = [(draw.randrange(20), draw.randrange(20)) for _ in range(60)]
    front = pareto_front(points)
    beaten = {i for i, (x, y) in enumerate(points) for a, b in points if a >= x and b >= y and (a, b) != (x, y)}
    assert sorted(front) == [i for i in range(60) if i not in beaten]
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_marks_stand_where_their_values_are_and_lead_to_their_runs() -> None:
    marks = [GainMark(f"r{i}", i, "selective", -10.0 * i, 20.0 * i, href=f"#run={i}") for i in range(3)]
    chart = gains_chart("g", marks, interval_words="none")
    links = {a.attrib["href"]: a for a in tree(chart.wide).iter("a")}
    place = {href: a.findall("circle")[1].attrib for href, a in links.items()}
    xs, ys = [float(place[f"#run={i}"]["cx"]) for i in range(3)], [float(place[f"#run={i}"]["cy"]) for i in range(3)]
    assert xs[0] - xs[1] == pytest.approx(xs[1] - xs[2], abs=0.02) and xs[0] > xs[1]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.02) and ys[0] > ys[1]
    assert [row[1] for row in chart.rows] == ["0.0", "+20.0", "+40.0"]


def test_in_a_crowd_only_the_front_is_loud() -> None:
    marks = [GainMark(f"r{i}", i, "additive", -float(i), float(i % 7), (-i - 1, -i + 1)) for i in range(CROWD + 1)]
    root = tree(gains_chart("g", marks, interval_words="none").wide)
    loud = {a.attrib["data-recipe"] for a in root.iter("a") if a.attrib["class"] == "mark"}
    assert loud == {str(i) for i in pareto_front([(m.x, m.y) for m in marks])}


def test_lines_are_drawn_in_order_and_stand_in_the_table() -> None:
    low = Series("low", [LinePoint(1, 2.0), LinePoint(10, 1.0, (0.5, 1.5), "#run=1"), LinePoint(100, 0.5)], "additive")
    chart = lines_chart("l", "about", [low, Series("high", [LinePoint(1, 4.0)])], Axes("steps", "loss", log_x=True))
    root = tree(chart.wide)
    path = next(line for line in root.iter("polyline")).attrib["points"].split()
    xs = [float(point.split(",")[0]) for point in path]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.02)  # a decade is a decade
    assert chart.rows == [("low", "2.0", "1.0", "0.5"), ("high", "4.0", "", "")]
    long = lines_chart("m", "about", [Series("s", [LinePoint(i, i) for i in range(200)])], Axes("step", "loss"))
    assert long.rows == [("s", "0.0", "199.0")]


def test_slopes_and_forests_point_where_they_should() -> None:
    panel = tree(slopes_panel("count", [Slope("a", 0, "selective", 90, 20), Slope("b", 1, "additive", 90, 95)]).wide)
    ends = [line for line in panel.iter("line") if line.attrib["class"].startswith("line")]
    assert float(ends[0].attrib["y2"]) > float(ends[0].attrib["y1"]) > float(ends[1].attrib["y2"])
    scale = forest_scale([-20.0, 5.0, 900.0])
    row = tree(forest_row(scale, mean=-8, interval=(-20, 2), runs=(-9, -7), paradigm="mixed", about="a row"))
    drawn = {line.attrib["class"].split()[0]: line.attrib for line in row.iter("line")}
    assert float(drawn["range"]["x1"]) < float(drawn["dot"]["x1"]) < float(drawn["zero"]["x1"])
    assert scale.high < 160 and row.attrib["aria-label"] == "a row"
