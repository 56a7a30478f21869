"""A benchmark's numbers, each with its unit and what it is compared with: printed, kept, and written as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "target" / "benchmarks.json"
"""The last value of every figure, so that a table can be written without measuring everything again."""
PAGE = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Figure:
    """One number."""

    name: str
    value: float
    unit: str
    target: str = ""
    """What it is compared with, as text: `≤ 8`."""
    holds: bool | None = None
    """Whether it is within the target; None: there is none."""
    note: str = ""

    def __str__(self) -> str:
        verdict = {None: "", True: "ok", False: "MISSED"}[self.holds]
        target = f"target {self.target}" if self.target else ""
        return f"{self.name:<52} {number(self.value):>9} {self.unit:<9} {target:<16} {verdict:<6} {self.note}".rstrip()


def at_most(name: str, value: float, unit: str, most: float, note: str = "") -> Figure:
    """A figure that is good when it is small."""
    return Figure(name, value, unit, f"≤ {most:g}", value <= most, note)


def at_least(name: str, value: float, unit: str, least: float, note: str = "") -> Figure:
    """A figure that is good when it is large."""
    return Figure(name, value, unit, f"≥ {least:g}", value >= least, note)


def number(value: float) -> str:
    """Three digits that mean something, thousands set apart."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


# ---- kept between runs, by scenario


def keep(scenario: str, figures: Iterable[Figure], about: str) -> None:
    """Remember what a scenario gave, in place of what it gave before. about: machine, versions and date."""
    kept = _read()
    kept[scenario] = {"about": about, "figures": [asdict(figure) for figure in figures]}
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False))


def _read() -> dict[str, dict[str, object]]:
    try:
        kept: dict[str, dict[str, object]] = json.loads(KEPT.read_text())
    except (OSError, ValueError):
        return {}
    return kept


# ---- the table in the documentation

_BETWEEN = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def write_page(order: Iterable[str]) -> None:
    """Put everything kept into the page's table, scenarios in this order."""
    page = PAGE.read_text()
    table = _table(order)
    written = _BETWEEN.sub(lambda found: found[1] + table + found[2], page)
    assert written.count(table) == 1, f"{PAGE} has lost the marks that its table stands between"
    PAGE.write_text(written)


def _table(order: Iterable[str]) -> str:
    kept = _read()
    lines: list[str] = []
    about = ""
    for scenario in order:
        if scenario not in kept:
            continue
        if kept[scenario]["about"] != about:
            about = str(kept[scenario]["about"])
            lines += ["", about + ":", "", "| figure | value | target | |", "| --- | --- | --- | --- |"]
        for fields in kept[scenario]["figures"]:  # type: ignore[attr-defined]
            figure = Figure(**fields)
            remark = f"**missed** {figure.note}".strip() if figure.holds is False else figure.note
            value = f"{number(figure.value)} {figure.unit}".strip()
            lines.append(f"| {figure.name} | {value} | {figure.target} | {remark} |")
    return "\n".join(lines).strip("\n") + "\n"
