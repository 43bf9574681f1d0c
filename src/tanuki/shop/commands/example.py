"""The example chain from the command line."""

from datetime import UTC, datetime
from pathlib import Path

import click

from tanuki.cli.output import print_passwords
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker


@click.command(
    help="Make the example chain: ten stores, ten beverages, three years of sales, people to sign in as, and a week that waits for them. "
    "Doing it again makes nothing twice."
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
    from tanuki.shop.calendar import TOKYO, week_to_order
    from tanuki.shop.simulation.demand import world

    now = datetime.now(UTC)
    day = last_day.date() if last_day else week_to_order(now.astimezone(TOKYO).date()).cutoff
    if only_files is not None:
        sent = chain.write(world(seed, day), only_files)
        click.echo(f"{len(sent)} files and truth.csv are in {only_files}.")
        return
    with open_resources() as res, inline_worker(res):
        made = chain.make_example(res, seed=seed, now=now, last_day=day)
    click.echo(f"{made.files} files, {made.rows} rows; {made.quarantined} rows wait in quarantine.")
    click.echo(
        f"Played to their orders: {', '.join(map(str, made.weeks[:-1]))}. Waiting for the analyst's check: {made.weeks[-1]}."
    )
    print_passwords(made.passwords)
