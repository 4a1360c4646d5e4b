"""report.html is one file that needs no other, says what the tables say, and takes names for what they are."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from nlhf.analysis import conclusions
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.report_tables import MOST_COMPARISONS, _sortable, comparison_rows, result_rows
from nlhf.analysis.results import analyse
from nlhf.stats.text import number
from tests.analysis.page import BETAS, GAMES, RATIOS, write_page
from tests.analysis.synthetic import geometric, write_run

pytestmark = pytest.mark.usefixtures("no_figure_files")

CRITERION = Criterion(target=1e-3)
VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Tags, texts and tables of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.tables = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def source(report):
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def root(report):
    return report.parent


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


# --- one file --------------------------------------------------------------------------------------------------------


def test_every_tag_is_closed(page):
    assert page.open == []


def test_nothing_is_loaded_from_elsewhere(source, page):
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            assert name not in attributes, (tag, name)
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), tag
    assert {"link", "iframe", "object", "embed", "img", "base"} & {tag for tag, _ in page.tags} == set()
    assert re.findall(r"url\((?!#)", source) == []
    assert "@import" not in source
    assert re.findall(r"fetch\(|XMLHttpRequest|import\(|WebSocket", source) == []


def test_ids_are_unique_and_references_lead_somewhere(source, page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    used = set(re.findall(r"url\(#([^)]+)\)", source)) | set(re.findall(r'href="#([^"]+)"', source))
    assert used <= set(ids)
    assert used


def test_the_page_says_its_language_its_width_and_its_title(page):
    assert page.all("html")[0]["lang"] == "en"
    assert any(attributes.get("name") == "viewport" for attributes in page.all("meta"))
    assert any(attributes.get("charset") == "utf-8" for attributes in page.all("meta"))
    assert page.text.startswith("mine · nlhf mine Which method needs the fewest preference queries?")


def test_figures_are_drawn_in_the_page_and_described(page):
    figures = [attributes["id"] for attributes in page.all("figure")]
    assert figures == ["convergence", "kl_to_equilibrium", "seconds", "heatmap", "profile", "robustness"]
    assert len(page.all("svg")) == len(figures)
    described = [attributes["aria-label"] for attributes in page.all("div") if attributes.get("role") == "img"]
    assert len(described) == len(figures)
    assert all(described)


# --- what it says ----------------------------------------------------------------------------------------------------


def test_the_headline_and_the_cautions_are_those_of_the_terminal(root, page):
    results = analyse(root, CRITERION)
    assert conclusions.headline(results) in page.text
    for caution in results.cautions:
        assert caution in page.text


def test_the_table_has_a_row_per_setting_and_method(root, page):
    head, *rows = page.tables[0]
    assert head[:8] == ["setting", "rank", "method", "mean rank", "possible ranks", "seeds",
                        "preference queries to 0.001", "reached the target"]  # fmt: skip
    assert len(rows) == len(RATIOS) * len(GAMES) * len(BETAS) + 2
    summary = analyse(root, CRITERION).summary.set_index(["group", "method"])
    for row in rows:
        setting, rank, method, mean, _, seeds, cost, reached, *_ = row
        name = method.partition(" †")[0].partition(", ")[0]
        expected = summary.loc[(setting, name)]
        assert int(seeds) == expected["seeds"]
        ranks = [number(expected[column]) for column in ("rank", "mean_rank")]
        assert [rank, mean] == ranks
        assert reached == f"{expected['reached']:.0%}"
        missed = f"> {number(expected['spent'])}"
        assert re.split(r" ?\[", cost)[0] == (number(expected["cost"]) if expected["reached"] else missed)
    assert {row[2] for row in rows if "†" in row[2]} == {"sppo †"}
    assert {row[2] for row in rows if "failed" in row[2] or "unfinished" in row[2]} == {
        "egpo, 1 failed",
        "mpo, 1 unfinished",
    }


def test_no_cell_shows_nan_or_inf(page):
    for table in page.tables:
        for cell in (cell for row in table for cell in row):
            assert not re.search(r"\b(nan|inf|None)\b", cell), cell


def test_what_is_sorted_by_is_a_number_in_every_column_but_words(page):
    keys = [attributes["data-key"] for attributes in page.all("td") if "data-key" in attributes]
    assert keys
    width = len(page.tables[0][0])
    for place, key in enumerate(keys[: width * (len(page.tables[0]) - 1)]):
        if place % width not in (0, 2):
            assert math.isfinite(float(key))


def test_missing_values_sort_behind_infinite_ones_and_both_behind_all_numbers():
    assert sorted([math.nan, 5.0, math.inf, 1e300], key=_sortable)[:3] == [5.0, 1e300, math.inf]


def test_rows_carry_the_games_and_betas_that_filters_ask_for(page):
    rows = [attributes for attributes in page.all("tr") if "data-game" in attributes]
    assert {row["data-game"] for row in rows} == set(GAMES)
    assert {row["data-beta"] for row in rows} == {f"{beta:g}" for beta in BETAS}
    assert {attributes["data-filter"] for tag, attributes in page.tags if "data-filter" in attributes} == {
        "game",
        "beta",
        "method",
    }


def test_a_filter_with_one_choice_is_left_out(tmp_path):
    for name in ("nash_mp", "omd"):
        write_run(tmp_path / "s", name, curves={0: geometric(0.1, 0.5, [0, 1, 2, 3])})
    page = Page(write_page(tmp_path / "s", tmp_path).read_text())
    assert {attributes["data-filter"] for _, attributes in page.tags if "data-filter" in attributes} == {"method"}
    assert "All settings share random_tournament, beta = 0.05." in page.text or len(page.tables) == 1


def test_an_arena_of_the_study_is_linked_from_wherever_the_page_is(tmp_path):
    write_run(tmp_path / "s", "nash_mp", curves={0: geometric(0.1, 0.5, [0, 1, 2, 3])})
    assert "arena" not in write_page(tmp_path / "s", tmp_path).read_text()
    (tmp_path / "s" / "arena").mkdir()
    (tmp_path / "s" / "arena" / "report.html").write_text("")
    for folder in (tmp_path / "s", tmp_path / "elsewhere"):
        page = write_page(tmp_path / "s", folder)
        (link,) = (attributes["href"] for tag, attributes in Page(page.read_text()).tags
                   if tag == "a" and "arena" in attributes.get("href", ""))  # fmt: skip
        assert (page.parent / link).exists()


def test_groups_over_several_games_match_each_of_them(root):
    rows = list(result_rows(analyse(root, Criterion(target=1e-3, by=("beta",)))))
    assert {row["game"] for row in rows} == {"|".join(sorted(GAMES))}
    assert {row["beta"] for row in rows} == {f"{beta:g}" for beta in BETAS}


def test_runs_that_did_not_complete_are_listed_with_the_reason(page):
    (table,) = (table for table in page.tables if table[0] == ["run", "status", "reason", "rows"])
    assert [row[1:] for row in table[1:]] == [
        ["failed", "not finite", "18"],
        ["unfinished", "no summary.json: it is running, or was killed", "18"],
    ]


def test_commands_versions_configs_and_citations_are_there(page):
    assert "nlhf run" in page.text
    for wanted in ("torch 2.9", "commit abc", "names.game", "@misc{arXiv-2505.19731,", "@misc{arXiv-2108.13264,"):
        assert wanted in page.text, wanted


def test_the_tests_are_told_the_better_method_first(page):
    (table,) = (table for table in page.tables if table[0][1:3] == ["first", "second"])
    rows = [row for row in table[1:] if row[1:3] == ["nash_mp", "omd"]]
    assert len(rows) == len(GAMES) * len(BETAS)
    for row in rows:
        assert row[3:5] == ["cost", "6"]
        assert float(row[5]) > 0
        assert float(row[6].split(" [")[0]) < 1
        assert row[7].startswith("100%")
        assert float(row[8]) == pytest.approx(2 / 2**6, abs=1e-3)
        assert float(row[10]) >= float(row[9]) >= float(row[8])


def test_a_pair_is_turned_round_where_the_second_is_better(tmp_path):
    for name, ratio in (("a_slow", 0.9), ("b_fast", 0.5)):
        curves = {seed: geometric(0.1 + seed / 50, ratio, range(100)) for seed in range(6)}
        write_run(tmp_path, name, curves=curves)
    results = analyse(tmp_path, CRITERION)
    (raw,) = results.comparisons.to_dict("records")
    (shown,) = comparison_rows(results.comparisons)
    texts = [text for text, _ in shown]
    assert (raw["first"], texts[1], texts[2]) == ("a_slow", "b_fast", "a_slow")
    assert float(texts[6].split(" [")[0]) == pytest.approx(1 / raw["ratio"], rel=0.01)
    low, high = (float(value) for value in re.search(r"\[(.+), (.+)\]", texts[6]).groups())
    assert low <= 1 / raw["ratio"] * 1.001
    assert high >= 1 / raw["ratio"] * 0.999
    assert texts[7].startswith("100%")


def test_what_only_one_method_reaches_is_told_in_words(page):
    (table,) = (table for table in page.tables if table[0][1:3] == ["first", "second"])
    told = {row[6] for row in table[1:] if row[1:3] == ["nash_mp", "sppo"]}
    assert told == {"only the first"}


def test_over_all_settings_only_methods_that_ran_everywhere_are_compared(page):
    (table,) = (table for table in page.tables if table[0][:2] == ["method", "settings won"])
    assert [row[0] for row in table[1:]] == ["nash_mp", "optimistic", "omd", "sppo †"]


def test_a_page_of_one_method_and_one_seed_has_no_tests_and_no_failures(tmp_path):
    write_run(tmp_path / "s", curves={0: geometric(0.1, 0.5, [0, 1, 2, 3])})
    page = Page(write_page(tmp_path / "s", tmp_path).read_text())
    assert "Is the difference chance?" not in page.text
    assert "did not complete" not in page.text
    assert "Over all settings" not in page.text


def test_no_more_pairs_are_shown_than_can_be_read(root):
    few = analyse(root, CRITERION).comparisons
    many = pd.concat([few] * (1 + MOST_COMPARISONS // len(few)))
    assert len(many) > MOST_COMPARISONS
    assert len(comparison_rows(many)) == MOST_COMPARISONS


# --- names are names -------------------------------------------------------------------------------------------------

HOSTILE = """<script>alert("1")</script>&amp;'"><img src=x onerror=alert(2)>"""


def test_names_with_tags_and_quotes_are_shown_and_do_nothing(tmp_path):
    study = tmp_path / "a <b>bold</b> & 'quoted' study"
    caveat = {"method": {"caveat": f"it {HOSTILE}", "sources": ["<i>"]}, "commit": HOSTILE, "stop_reason": HOSTILE}
    for name in ("nash_mp", HOSTILE.replace(",", "")):
        for status in ("completed", "failed"):
            write_run(study, name, HOSTILE, 0.05 if status == "failed" else 0.1, name=f"{len(name)}-{status}",
                      curves={seed: geometric(0.1 + seed, 0.5, range(5)) for seed in range(6)}, status=status,
                      overrides=[f"study={HOSTILE}"], summary=caveat, game__where=HOSTILE)  # fmt: skip
    source = write_page(study, tmp_path / "out").read_text(encoding="utf-8")
    page = Page(source)
    assert page.open == []
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count('<script>alert("1")</script>') > 5
    assert "a <b>bold</b> & 'quoted' study" in page.text
