"""Commands that let the eyes look at everything."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option
from tanuki.cli.progress import progress_bars
from tanuki.errors import UserError
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

POLL_SECONDS = 0.3


@click.command(
    help="Let the eyes look at every picture that they have not looked at. All workers help; interrupted, it goes on where it was. "
    "With another version, that one looks in the background while the live one serves, and is then judged beside it."
)
@click.option(
    "--eyes",
    "wanted",
    help="A version's number, or `new`: the network that TANUKI_IMAGE_MODEL names. The live one, unless given.",
)
@json_option
def embed(wanted: str | None, as_json: bool) -> None:
    from tanuki.animals.vision import backfill, registration
    from tanuki.animals.vision.encoder import ENCODER_MODEL

    with open_resources() as res:
        now = datetime.now(UTC)
        if wanted == backfill.NEW_VERSION:
            wanted = registration.register_version(res, now)
        elif wanted is not None:
            wanted = res.registry.get(ENCODER_MODEL, wanted).version
        new = run(res, backfill.EMBED, f"{wanted or 'live'}-{now:%Y%m%dT%H%M%S}", wanted)
        live = registration.find_live_version(res)
        version = wanted or live or ""
        with res.db.read() as db:
            row: dict[str, Any] = {
                "eyes": version,
                "new": new,
                "looks": backfill.count_embedded(db, version),
                "missing": backfill.count_missing(db, version),
            }
        if live is not None and version != live:
            row |= verdict(res, version, live, now)
    if as_json:
        emit([row], as_json)
        return
    click.echo(
        f"Version {version} of the eyes has looked at {row['looks']} pictures, {new} of them now; {row['missing']} cannot be read."
    )
    if "go" in row:
        click.echo(
            f"{'GO' if row['go'] else 'NO-GO'} beside the live version {live}. {' '.join(row['reasons'])}".strip()
        )


def verdict(res: "Resources", version: str, live: str, now: datetime) -> dict[str, Any]:
    """What the gate says about a version beside the live one, kept; nothing when there are too few pictures to say."""
    from tanuki.animals.vision import evaluation
    from tanuki.platform.accounts import SYSTEM
    from tanuki.platform.mlops import release

    try:
        with res.db.read() as db:
            found = evaluation.evaluate_encoder(db, version, live, now, SYSTEM.name)
    except UserError as few:
        click.echo(str(few), err=True)
        return {}
    with res.db.write() as db:
        release.keep_verdict(db, found)
    return {
        "go": found.go,
        "reasons": [evaluation.render_reason(reason, "en") for reason in found.report["reasons"]],
    }


@click.command(
    help="What the eyes take every published post for, beside what its owner says. All workers help; interrupted, it goes on where it was."
)
@click.option("--again", is_flag=True, help="Look at every picture anew before.")
@json_option
def classify(again: bool, as_json: bool) -> None:
    from tanuki.animals.vision import backfill

    with open_resources() as res:
        found = run(res, backfill.CLASSIFY, f"{datetime.now(UTC):%Y%m%dT%H%M%S}", again)
    emit(rows(found), as_json)


def rows(counts: list[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """A row a category: how many posts are of it as owners say, as the eyes say, and as both say; how many the eyes do not know."""
    from tanuki.animals.taxonomy import CATEGORIES
    from tanuki.animals.vision.backfill import UNKNOWN_CATEGORY

    made = []
    for category in CATEGORIES:
        owners = {eyes: count for owner, eyes, count in counts if owner == category}
        eyes = sum(count for _, said, count in counts if said == category)
        if owners or eyes:
            both, unknown = owners.get(category, 0), owners.get(UNKNOWN_CATEGORY, 0)
            made.append(
                {
                    "category": category,
                    "owners": sum(owners.values()),
                    "eyes": eyes,
                    "both": both,
                    "unknown": unknown,
                }
            )
    return made


def run(res: "Resources", name: str, suffix: str, *args: Any) -> Any:
    """Start a run, or join the one that is under way, and wait for what it gives."""
    from tanuki.animals.vision import backfill

    with ExitStack() as stack:
        stack.enter_context(inline_worker(res))
        progress = stack.enter_context(progress_bars())
        active = [
            each.id
            for status in ("running", "queued")
            for each in res.jobs.list_runs(status=status, name=name)
        ]
        run_id = active[0] if active else f"{name}-{suffix}"
        if not active:
            with res.db.write() as db:
                res.jobs.enqueue(db, name, run_id, *args)
        while (found := res.jobs.load_run(run_id)).status in ("queued", "running"):
            time.sleep(POLL_SECONDS)
            done, whole = backfill.measure_progress(res, args[0] if name == backfill.EMBED else None)
            if whole:
                progress("pictures", done, whole)
        if found.status != "done":
            raise UserError(
                "The run %(run)s stopped (%(status)s): %(why)s Then `tanuki work resume %(run)s`.",
                run=run_id,
                status=found.status,
                why=found.error or "",
            )
        return res.jobs.client.retrieve_workflow(run_id).get_result()
