"""The example chain from the command line."""

from datetime import UTC, datetime
from pathlib import Path

import click

from tanuki.cli.context import echo
from tanuki.cli.output import print_passwords
from tanuki.i18n import TOKYO
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker


@click.command(
    help="Make the example chain: ten stores, ten beverages, three years of sales, people to sign"
    " in as, and a week that waits for them. A second run repeats nothing."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Another seed, another chain.",
)
@click.option(
    "--last-day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Last day of sales, a Sunday; the last one before today, unless given.",
)
@click.option(
    "--only-files",
    type=click.Path(path_type=Path, file_okay=False),
    help="Only write the files into this folder; import nothing.",
)
def example(seed: int, last_day: datetime | None, only_files: Path | None) -> None:
    from tanuki.shop import example as chain
    from tanuki.shop.calendar import week_to_order
    from tanuki.shop.simulation.world import simulate_world

    now = datetime.now(UTC)
    day = last_day.date() if last_day else week_to_order(now.astimezone(TOKYO).date()).cutoff
    if only_files is not None:
        files = chain.write_example_files(simulate_world(seed, day), only_files)
        echo(
            "%(count)s files and truth.csv are in %(folder)s.", count=len(files), folder=only_files
        )
        return
    with open_resources() as res, inline_worker(res):
        result = chain.make_example(res, seed=seed, now=now, last_day=day)
    echo(
        "%(files)s files, %(rows)s rows; %(quarantined)s rows wait in quarantine.",
        files=result.files,
        rows=result.rows,
        quarantined=result.quarantined,
    )
    *past, current = result.weeks
    echo(
        "Past weeks with orders: %(past)s. Waiting for the analyst's check: %(current)s.",
        past=", ".join(map(str, past)),
        current=current,
    )
    print_passwords(result.passwords)
