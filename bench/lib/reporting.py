"""How benchmarks report: figures and targets on the terminal, results as JSON in bench/results."""

import json
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def write_results(name: str, results: object) -> None:
    """Write `bench/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def print_figures(figures: Mapping[str, object], width: int = 20) -> None:
    """One figure a line: floats with three digits, everything else as it is."""
    for name, value in figures.items():
        number = f"{value:12.3f}" if isinstance(value, float) else f"{value!s:>12}"
        print(f"  {name:{width}} {number}")


def format_figures(figures: Mapping[str, object]) -> str:
    """All figures in one line."""
    return "  ".join(f"{name} {value}" for name, value in figures.items())


def print_target(met: bool, text: str) -> None:
    """Say whether a target is met."""
    print(f"{'ok  ' if met else 'MISS'} {text}", flush=True)
