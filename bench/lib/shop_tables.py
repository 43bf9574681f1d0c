"""Writes the results of the shop's benchmarks into docs/benchmarks.md.

    python -m bench.lib.shop_tables

Each table stands between two comments with its name and is replaced as a whole.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from bench import shop_accuracy, shop_speed
from bench.lib.reporting import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def format_accuracy(results: dict[str, Any]) -> str:
    """One dataset's table and its targets."""
    weeks, rows = results["weeks"], results["models"][0]["rows"]
    count = f"{len(weeks)} weeks from {weeks[0]} to {weeks[-1]}, {rows:,} rows"
    table = shop_accuracy.format_table(results["models"])
    return f"{count}, the same for every model.\n\n{table}\n\n{format_targets(results['targets'])}"


def format_speed(results: dict[str, Any]) -> str:
    """The table of seconds and its targets."""
    lines = "\n".join(map(shop_speed.format_row, results["models"]))
    return f"{shop_speed.format_head()}\n{lines}\n\n{format_targets(results['targets'])}"


def format_chain(steps: list[dict[str, Any]]) -> str:
    """Seconds and memory of each command of the whole chain."""
    lines = "\n".join(
        f"| {step['what']} | {step['series']:,} | {step['seconds']:.1f} | {step['peak_gib']:.2f} |"
        for step in steps
    )
    return f"| step | series | seconds | peak, GiB |\n|---|---|---|---|\n{lines}"


def format_targets(targets: list[str]) -> str:
    return "```\n" + "\n".join(targets) + "\n```" if targets else ""


def replace_section(page: str, name: str, text: str) -> str:
    """The page with the text between the comments of this name replaced."""
    return re.sub(
        rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)",
        lambda match: f"{match[1]}\n{text}\n\n{match[2]}",
        page,
        flags=re.DOTALL,
    )


def main() -> None:
    page = old_page = PAGE.read_text(encoding="utf-8")
    for name in shop_accuracy.LOADERS:
        path = RESULTS / f"shop_accuracy_{name}.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            page = replace_section(page, name, format_accuracy(results))
    for name, format_results in (("speed", format_speed), ("chain", format_chain)):
        path = RESULTS / f"shop_{name}.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            page = replace_section(page, name, format_results(results))
    if page != old_page:
        PAGE.write_text(page, encoding="utf-8")
        print(f"{PAGE.name} has new tables.", file=sys.stderr)


if __name__ == "__main__":
    main()
