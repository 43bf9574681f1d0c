"""The results of the shop's benches as tables in docs/benchmarks.md: each stands between two comments with its name, and is replaced whole."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from bench import shop_accuracy, shop_speed

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
RESULTS = Path(__file__).parents[1] / "results"


def accuracy(kept: dict[str, Any]) -> str:
    """One dataset's table and its targets."""
    weeks, rows = kept["weeks"], kept["models"][0]["rows"]
    head = f"{len(weeks)} weeks from {weeks[0]} to {weeks[-1]}, {rows:,} rows, the same for every model."
    return f"{head}\n\n{shop_accuracy.table(kept['models'])}\n\n{targets(kept['targets'])}"


def speed(kept: dict[str, Any]) -> str:
    """The table of seconds and its targets."""
    lines = "\n".join(map(shop_speed.row, kept["models"]))
    return f"{shop_speed.heads()}\n{lines}\n\n{targets(kept['targets'])}"


def chain(kept: list[dict[str, Any]]) -> str:
    """What each command of the whole chain took."""
    lines = "\n".join(
        f"| {line['what']} | {line['series']:,} | {line['seconds']:.1f} | {line['peak_gib']:.2f} |"
        for line in kept
    )
    return f"| step | series | seconds | peak, GiB |\n|---|---|---|---|\n{lines}"


def targets(said: list[str]) -> str:
    """The targets as they were printed."""
    return "```\n" + "\n".join(said) + "\n```" if said else ""


def replaced(page: str, name: str, text: str) -> str:
    """The page with the part of this name replaced."""
    return re.sub(
        rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)",
        lambda found: f"{found[1]}{text}\n{found[2]}",
        page,
        flags=re.DOTALL,
    )


def main() -> None:
    page = before = PAGE.read_text(encoding="utf-8")
    for name in shop_accuracy.READ:
        path = RESULTS / f"shop_accuracy_{name}.json"
        if path.exists():
            page = replaced(page, name, accuracy(json.loads(path.read_text(encoding="utf-8"))))
    for name, made in (("speed", speed), ("chain", chain)):
        path = RESULTS / f"shop_{name}.json"
        if path.exists():
            page = replaced(page, name, made(json.loads(path.read_text(encoding="utf-8"))))
    if page != before:
        PAGE.write_text(page, encoding="utf-8")
        print(f"{PAGE.name} has new tables.", file=sys.stderr)


if __name__ == "__main__":
    main()
