"""Claim: the example chain's files take at most ten seconds, `tanuki --help` half a second.

python -m bench.shop_example
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.lib.reporting import print_target, write_results
from bench.lib.timing import time_call

LAST_DAY = "2021-06-27"
RUNS = 3  # of which the fastest counts: the command's own cost, not the machine's other work


def measure_command(*command: str) -> float:
    """The least seconds of RUNS runs of a command."""
    runs = [
        time_call(lambda: subprocess.run(command, check=True, capture_output=True))[1]
        for _ in range(RUNS)
    ]
    return round(min(runs), 2)


def main() -> None:
    tanuki = str(Path(sys.executable).with_name("tanuki"))
    with tempfile.TemporaryDirectory() as folder:
        options = ("--last-day", LAST_DAY, "--only-files", folder)
        rows = [
            {"what": "tanuki --help", "seconds": measure_command(tanuki, "--help"), "limit": 0.5},
            {
                "what": "tanuki shop example --only-files",
                "seconds": measure_command(tanuki, "shop", "example", *options),
                "limit": 10.0,
            },
        ]
    for row in rows:
        text = f"{row['what']:34} {row['seconds']:6.2f} s (at most {row['limit']:.2f} s)"
        print_target(row["seconds"] <= row["limit"], text)
    write_results("shop_example", rows)


if __name__ == "__main__":
    main()
