"""Real clicks in the system's Chromium: sort, filter, hover, deep links, items of a run, at a desk and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.reports.study import write_study_page
from holdfast.results.points import read_results
from tests.support.study_folder import make_study

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]

DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = make_study(tmp_path_factory.mktemp("study"), items=60, steps=(150,))
    return write_study_page(read_results(folder), folder).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


class Tab:
    """A page with what its console said; it goes offline first, so that a request would fail."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = DESK, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, offline=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.told: list[str] = []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("requestfailed", lambda request: self.told.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#list li")

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()
        assert self.told == []

    @staticmethod
    def recipes(page: Any) -> list[str]:
        """Names in the table, as shown."""
        return [text.strip() for text in page.locator("#table tbody:not([hidden]) tr:visible th").all_inner_texts()]


def column(page: Any, name: str) -> list[float]:
    """The values of a column of the shown table, in order."""
    heads = page.locator("#table thead button").evaluate_all("heads => heads.map((head) => head.dataset.sort)")
    cells = page.locator(f"#table tbody:not([hidden]) tr:visible > :nth-child({heads.index(name) + 1})")
    return [float(value) for value in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.value)")]


def test_a_heading_sorts_and_the_address_keeps_it(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        before = Tab.recipes(page)
        page.locator('[data-sort="F"]').click()
        assert column(page, "F") == sorted(column(page, "F"), reverse=True)
        assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
        page.locator('[data-sort="F"]').click()
        assert column(page, "F") == sorted(column(page, "F")) and "sort=F" in page.url
        again = page.url
        page.locator('[data-sort="F"]').click()
        assert Tab.recipes(page) == before and "sort" not in page.url
    with Tab(browser, again) as page:
        assert column(page, "F") == sorted(column(page, "F"))


def test_filters_take_recipes_out_of_tables_and_charts(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        marks = page.locator('[data-view="all"] .wide a.mark:not(.dot):visible')
        assert marks.count() == len(Tab.recipes(page)) == 4
        page.locator('[data-paradigm="additive"]').uncheck()
        assert Tab.recipes(page) == ["full", "lora"] and marks.count() == 2
        page.locator("#find").fill("lor")
        expect(page.locator("#shown")).to_have_text("1 of 4 recipes")
        assert Tab.recipes(page) == ["lora"] and page.locator(".heat tbody tr:visible").count() == 1
        again = page.url
    with Tab(browser, again) as page:
        assert Tab.recipes(page) == ["lora"] and page.locator("#find").input_value() == "lor"


def test_another_target_shows_other_figures(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        mean = column(page, "E")
        page.locator("#view").select_option("digits")
        assert column(page, "E") != mean and "view=digits" in page.url
        assert page.locator('[data-view="digits"] .wide svg').is_visible()
        assert page.locator('[data-view="all"] .wide svg').first.is_hidden()


def test_a_mark_tells_its_figures_and_leads_to_its_run(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        mark = page.locator('[data-view="all"] .wide a.mark:not(.dot)').filter(has=page.locator(".reparameterization"))
        mark.locator(".hit").hover()
        tip = page.locator("#tip")
        assert tip.is_visible() and tip.inner_text().startswith("lora\ntarget +")
        assert page.locator("tr.hot").count() >= 2  # the same recipe in the tables
        mark.locator(".hit").click()
        expect(page.locator("#run-name")).to_have_text("lora")
        key = mark.get_attribute("href").removeprefix("#run=")
        assert f"run={key}" in page.url and page.locator(f'[data-run="{key}"]').is_visible()
        page.locator("#run-others a").nth(1).click()
        expect(page.locator(f'[data-run="{key}"]')).to_be_hidden()
        page.go_back()
        page.wait_for_selector(f'[data-run="{key}"]:not([hidden])')


def test_items_open_on_the_target_and_a_link_to_one_finds_it(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        assert page.locator("#task option:checked").inner_text() == "digits (target)"
        page.locator("#task").select_option(index=1)
        page.get_by_role("tab", name="Forgot").click()
        page.wait_for_selector("#list .forgot")
        item = page.locator("#list button").nth(1)
        name = item.get_attribute("data-id")
        item.click()
        assert page.locator("#detail .id").inner_text() == name and page.locator("#detail img").is_visible()
        assert page.locator("#detail .frame summary").inner_text() == "Around every question"
        again = page.url
    with Tab(browser, again) as page:
        expect(page.locator("#detail .id")).to_have_text(name)


def test_a_long_answer_is_cut_in_the_middle_with_what_was_read_marked(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        page.get_by_role("tab", name="All").click()
        page.locator('#list [data-id$="-7"]').click()
        reading = page.locator("#detail dd.after mark.reading")
        assert reading.count() == 1 and reading.inner_text() in ("zero", "one", "two", "three", "four")
        gap = page.locator("#detail dd.after .gap")
        before = len(page.locator("#detail dd.after").inner_text())
        gap.first.click()
        assert page.locator("#detail dd.after .gap").count() == 0
        assert len(page.locator("#detail dd.after").inner_text()) > before + 500
        assert reading.count() == 1


def test_pictures_and_confusion(browser: Any, address: str) -> None:
    with Tab(browser, address) as page:
        page.get_by_role("tab", name="All").click()
        page.get_by_role("button", name="Pictures").click()
        page.wait_for_selector("#list.gallery img")
        assert page.locator("#list.gallery img").count() == 50 and "mode=gallery" in page.url
        page.get_by_role("button", name="Confusion").click()
        cells = page.locator("#confusion td button")
        assert sum(int(text) for text in cells.all_inner_texts()) == 60  # every item stands in one cell
        wanted = page.locator("#confusion td button").first
        count = int(wanted.inner_text())
        wanted.click()
        expect(page.locator("#list button")).to_have_count(count)
        assert "cell=" in page.url
        page.keyboard.press("Escape")
        expect(page.locator("#list button")).to_have_count(50)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_nothing_is_wider_than_the_window(browser: Any, address: str, size: tuple[int, int], scheme: str) -> None:
    with Tab(browser, address, size, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(15, 22, 21)") == (scheme == "dark")
        shown = page.locator('[data-view="all"] .chart svg[role]:visible').bounding_box()
        assert shown["width"] <= size[0]
        page.locator("#theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper


def test_a_phone_reaches_an_item_and_comes_back(browser: Any, address: str) -> None:
    with Tab(browser, address, PHONE) as page:
        page.locator("#list button").first.click()
        page.wait_for_selector("body.open")
        assert page.locator("#detail").is_visible()
        page.get_by_role("button", name="Close").click()
        page.wait_for_selector("body:not(.open)")


def test_a_print_shows_figures_and_leaves_controls_out(browser: Any, address: str) -> None:
    with Tab(browser, address, scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.locator("#controls").is_hidden() and page.locator("#items").is_hidden()
        assert page.locator('[data-view="all"] .wide svg').is_visible() and page.locator(".heat").is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
