"""report.html in a real browser: no error, no request, no overflow; sorting, filtering, the keyboard, printing.

Screenshots are left in the folder that the environment variable NLHF_SCREENSHOTS names, if it names one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

import pytest

from nlhf.leaderboard.report import write
from nlhf.leaderboard.summary import examine
from tests.analysis.page import BETAS, GAMES, RATIOS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed: pip install playwright"
    ),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium and no google-chrome on the PATH: apt-get install chromium"
    ),
]
COST, METHOD, RANK = 6, 2, 1  # columns
SIZES = {1280: 900, 390: 844}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=600_000
        )
        yield opened
        opened.close()


class Visit:
    """A page that is open, with what it asked for and complained of."""

    def __init__(self, browser, report, width=1280, scheme="light"):
        self.report, self.wrong, self.asked = report, [], []
        self.page = browser.new_page(viewport={"width": width, "height": SIZES[width]}, color_scheme=scheme)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.set_default_timeout(600_000)
        self.page.goto(report.as_uri())

    def rows(self):
        """The texts of the rows that are seen, in their order."""
        script = "rows => rows.filter(row => !row.hidden).map(row => [...row.cells].map(cell => cell.textContent))"
        return self.page.eval_on_selector_all("#results tbody tr", script)

    def column(self, number):
        return [row[number] for row in self.rows()]

    def head(self, number):
        return self.page.locator("#results thead th").nth(number)

    def sort(self, number):
        self.head(number).locator("button").click()

    def choose(self, name, value):
        self.page.locator(f"select[data-filter={name}]").select_option(value)


@pytest.fixture
def visit(browser, report):
    visits = []

    def begin(*arguments):
        visits.append(Visit(browser, report, *arguments))
        return visits[-1]

    yield begin
    for each in visits:
        assert each.wrong == []
        assert each.asked == [report.as_uri()]
        each.page.close()


def queries(cost):
    """A cost as a number; more than the budget is the largest."""
    return float("inf") if cost.startswith("> ") else float(re.match(r"[\d,.]+", cost)[0].replace(",", ""))


# --- looks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_nothing_is_wider_than_the_window(visit, tmp_path, width, scheme):
    seen = visit(width, scheme)
    seen.page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    wide = (
        "all => all.filter(each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest('.wide, pre'))"
    )
    assert (
        seen.page.eval_on_selector_all("main *", f"all => ({wide})(all).map(each => each.outerHTML.slice(0, 100))")
        == []
    )
    for folder in filter(None, [str(tmp_path), os.environ.get("NLHF_SCREENSHOTS")]):
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder) / f"report-{width}-{scheme}.png"
        seen.page.screenshot(path=path, full_page=True)
        assert path.stat().st_size > 50_000


def test_dark_and_light_are_dark_and_light_and_can_be_read(visit):
    script = (
        "() => ['color', 'backgroundColor'].map(n => getComputedStyle(document.body)[n].match(/\\d+/g).map(Number))"
    )
    brightness = {
        scheme: [sum(rgb[:3]) / 765 for rgb in visit(1280, scheme).page.evaluate(script)]
        for scheme in ("light", "dark")
    }
    assert brightness["light"][1] > 0.95
    assert brightness["dark"][1] < 0.15
    for ink, ground in brightness.values():
        assert abs(ink - ground) > 0.7


def test_figures_are_seen_and_their_ink_is_that_of_the_page(visit):
    seen = visit(1280, "dark")
    boxes = seen.page.eval_on_selector_all(
        "figure svg", "all => all.map(each => each.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 6
    for box in boxes:
        assert box["width"] > 300
        assert box["height"] > 150
    colours = seen.page.eval_on_selector_all(
        "figure svg [style*=currentColor]", "all => [...new Set(all.map(each => getComputedStyle(each).fill))]"
    )
    assert any(colour == "rgb(230, 233, 237)" for colour in colours)


# --- sorting ---------------------------------------------------------------------------------------------------------


def test_a_click_on_a_header_sorts_by_number_with_missed_targets_last_and_another_click_turns_it_round(visit):
    seen = visit()
    seen.sort(COST)
    up = [queries(cost) for cost in seen.column(COST)]
    assert up == sorted(up)
    assert len(set(up)) > 5
    assert up[-1] == float("inf")
    assert seen.column(COST)[-1].startswith("> ")
    seen.sort(COST)
    down = [queries(cost) for cost in seen.column(COST)]
    assert down == sorted(up, reverse=True)
    seen.sort(COST)
    assert [queries(cost) for cost in seen.column(COST)] == up


def test_words_are_sorted_as_words_and_rows_stay_whole(visit):
    seen = visit()
    before = sorted(map(tuple, seen.rows()))
    seen.sort(METHOD)
    names = seen.column(METHOD)
    assert names == sorted(names)
    assert names != sorted(names, reverse=True)
    assert sorted(map(tuple, seen.rows())) == before


def test_missing_values_are_last_when_ascending(visit):
    seen = visit()
    rate = next(k for k in range(12) if seen.head(k).inner_text().strip() == "rate of the tail")
    seen.sort(rate)
    values = seen.column(rate)
    assert "-" in values
    assert "-" not in values[: values.index("-")]
    assert set(values[values.index("-") :]) == {"-"}


def test_the_sorted_column_says_so_and_no_other_one_does(visit):
    seen = visit()
    assert [seen.head(k).get_attribute("aria-sort") for k in range(12)] == [None] * 12
    seen.sort(COST)
    assert seen.head(COST).get_attribute("aria-sort") == "ascending"
    seen.sort(COST)
    assert seen.head(COST).get_attribute("aria-sort") == "descending"
    seen.sort(RANK)
    assert [k for k in range(12) if seen.head(k).get_attribute("aria-sort")] == [RANK]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts_too(visit, key):
    seen = visit()
    seen.head(COST).locator("button").focus()
    seen.page.keyboard.press(key)
    assert seen.head(COST).get_attribute("aria-sort") == "ascending"
    costs = [queries(cost) for cost in seen.column(COST)]
    assert costs == sorted(costs)


def test_the_table_of_tests_is_sorted_by_itself(visit):
    seen = visit()
    before = seen.rows()
    table = seen.page.locator("table.sortable").nth(1)
    table.locator("thead button").filter(has_text="p, Holm").click()
    values = table.locator("tbody tr td:last-child").all_inner_texts()
    numbers = [float(value) for value in values]
    assert numbers == sorted(numbers)
    assert seen.rows() == before


# --- filtering -------------------------------------------------------------------------------------------------------


def test_filters_leave_the_rows_that_match_all_of_them_and_the_counter_says_how_many(visit):
    seen = visit()
    total = len(RATIOS) * len(GAMES) * len(BETAS) + 2
    count = seen.page.locator("#count")
    assert len(seen.rows()) == total
    assert count.inner_text() == f"{total} rows"
    seen.choose("game", "votes")
    assert {row[0].partition(",")[0] for row in seen.rows()} == {"votes"}
    assert count.inner_text() == f"{len(RATIOS) * len(BETAS)} of {total} rows"
    seen.choose("beta", "0.1")
    assert {row[0] for row in seen.rows()} == {"votes, beta = 0.1"}
    seen.page.locator("input[data-filter=method]").fill("NASH")
    assert seen.column(METHOD) == ["nash_mp"]
    assert count.inner_text() == f"1 of {total} rows"
    seen.page.locator("input[data-filter=method]").fill("nothing")
    assert seen.rows() == []
    assert count.inner_text() == f"0 of {total} rows"
    seen.page.locator("input[data-filter=method]").fill("")
    seen.choose("beta", "")
    seen.choose("game", "")
    assert len(seen.rows()) == total
    assert count.inner_text() == f"{total} rows"


def test_what_is_filtered_out_stays_out_when_sorted(visit):
    seen = visit()
    seen.choose("game", "circle")
    kept = sorted(map(tuple, seen.rows()))
    seen.sort(COST)
    assert sorted(map(tuple, seen.rows())) == kept


# --- printing --------------------------------------------------------------------------------------------------------


def test_it_prints_to_paper_with_everything_opened(visit, tmp_path):
    seen = visit(1280, "dark")
    path = tmp_path / "report.pdf"
    seen.page.pdf(path=path, prefer_css_page_size=True)
    assert path.read_bytes().startswith(b"%PDF")
    assert path.stat().st_size > 50_000
    seen.page.emulate_media(media="print")
    assert seen.page.locator("#filters").is_hidden()
    ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"


def test_before_printing_what_is_folded_is_opened(visit):
    seen = visit()
    assert seen.page.locator("details:not([open])").count() > 0
    seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator("details:not([open])").count() == 0


# --- the page of votes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SIZES)
def test_long_names_of_items_are_readable_and_do_not_overflow(browser, tmp_path, width):
    names = [
        "a_very_long_name_of_a_model-v1.2-instruct-70b-chat-hf-2024-05-13",
        " ".join(["a name of many words"] * 4),
        "bee",
    ]
    pairs = [f"{names[k]},{names[k - 1]},9,{3 + k}" for k in range(3)]
    path = tmp_path / "votes.csv"
    path.write_text("item_a,item_b,wins_a,wins_b\n" + "\n".join(pairs) + "\n")
    page = Visit(browser, write(examine(str(path)), str(path), tmp_path / "out"), width).page
    page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.eval_on_selector_all("td.text", "all => all.map(each => each.getBoundingClientRect().height)")
    assert max(heights) < 300  # a letter in each line would be higher
    page.close()
