"""What becomes of a benchmark's numbers: their text, their verdict, the table in the documentation."""

import pytest

from benchmarks import figures
from benchmarks.figures import Figure, at_least, at_most, number


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.514, "0.51"), (5.456, "5.46"), (12.34, "12.3"), (258_412.4, "258,412")]
)
def test_a_number_has_the_digits_that_mean_something(value, text):
    assert number(value) == text


def test_a_figure_says_whether_it_is_within_its_target():
    assert "≤ 8       ok" in str(at_most("A", 5.5, "µs", 8))
    assert "MISSED" in str(at_most("A", 8.1, "µs", 8))
    assert "MISSED" in str(at_least("E", 0.6, "", 0.7))
    assert "target" not in str(Figure("A", 1, "µs"))


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page with an old table, and nothing kept yet."""
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    monkeypatch.setattr(figures, "PAGE", page)
    monkeypatch.setattr(figures, "KEPT", tmp_path / "kept" / "figures.json")
    return page


def test_the_table_holds_the_last_figures_of_every_scenario_in_order(page):
    figures.keep("B", [Figure("B, ten speakers", 3.2, "µs")], "a machine")
    figures.keep("A", [at_most("A, to 50", 9.0, "µs", 8.0)], "a machine")
    figures.keep("A", [at_most("A, to 50", 4.9, "µs", 8.0, "11,000 packets/s")], "a machine")

    figures.write_page(["A", "B", "C"])

    before, *table, after = page.read_text().splitlines()
    assert (before, after) == ("before", "after")
    assert table == [
        "<!-- figures -->",
        "a machine:",
        "",
        "| figure | value | target | |",
        "| --- | --- | --- | --- |",
        "| A, to 50 | 4.90 µs | ≤ 8 | 11,000 packets/s |",
        "| B, ten speakers | 3.20 µs |  |  |",
        "<!-- end of figures -->",
    ]


def test_figures_of_another_machine_stand_in_a_table_of_their_own(page):
    figures.keep("A", [at_most("A, to 50", 9.0, "µs", 8.0)], "one machine")
    figures.keep("B", [Figure("B, ten speakers", 3.2, "µs")], "another")

    figures.write_page(["A", "B"])

    text = page.read_text()
    assert text.index("one machine:") < text.index("| A, to 50 | 9.00 µs | ≤ 8 | **missed** |") < text.index("another:")
