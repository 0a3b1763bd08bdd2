"""The figures of runs as a page: merged, as markdown tables, put between the marks of a page that people write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facula.errors import fail

from .harness import Result, summary, table
from .limits import LIMITS

__all__ = ["BEGIN", "END", "markdown", "merge", "put"]

BEGIN = "<!-- measured -->"
END = "<!-- /measured -->"


def merge(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One run's figures out of several: a row measured twice counts as in the last, limits are the highest seen."""
    rows: dict[tuple[str, str], dict] = {}
    limits: dict[str, float] = {}
    for figures in runs:
        rows.update({(one["group"], one["name"]): one for one in figures["rows"]})
        limits.update({name: max(value, limits.get(name, 0.0)) for name, value in figures["limits"].items()})
    groups = list(dict.fromkeys(group for group, _ in rows))
    ordered = sorted(rows.values(), key=lambda one: groups.index(one["group"]))
    return {**runs[-1], "limits": limits, "rows": ordered}


def markdown(figures: dict[str, Any]) -> str:
    """The machine, its limits, a summary of the groups, all rows."""
    results = [Result.of_dict(one) for one in figures["rows"]]
    names = figures["baseline"], figures["candidate"]
    limits = figures["limits"]
    lines = [f"{figures['machine']}; ratio = {names[0]}'s time / {names[1]}'s.", ""]
    lines += [f"- {LIMITS[name]}: {value / 1e9:.1f}e9" for name, value in limits.items()] + [""]
    lines += [f"- {line}" for line in summary(results)] + [""]
    lines += [f"- {one.name}: {what}: {value}" for one in results for what, value in one.notes.items()] + [""]
    return "\n".join(lines) + "\n" + table(results, names, markdown=True, limits=limits)


def put(page: Path, text: str) -> None:
    """Replace what stands between the marks of the page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        fail(ValueError, f"{page} has no place for the figures", expected=f"the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
