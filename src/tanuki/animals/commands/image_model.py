"""Commands of the image model: encode pictures in bulk, count posts by category."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.context import echo, say
from tanuki.cli.output import emit, json_option
from tanuki.cli.progress import progress_bars
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker

if TYPE_CHECKING:
    from tanuki.animals.vision.backfill import CategoryCounts
    from tanuki.platform.resources import Resources

POLL_SECONDS = 0.3


@click.command(
    help="Let the image model encode every picture that it has not encoded. All workers help;"
    " an interrupted run continues where it was. Another version than the live one encodes in the"
    " background and is then evaluated beside it."
)
@click.option(
    "--version",
    help="A version's number, or `new`: the image model that TANUKI_IMAGE_MODEL names."
    " The live one, unless given.",
)
@json_option
def embed(version: str | None, as_json: bool) -> None:
    from tanuki.animals.vision import backfill, registration
    from tanuki.animals.vision.encoder import ENCODER_MODEL

    with open_resources() as res:
        now = datetime.now(UTC)
        if version == backfill.NEW_VERSION:
            version = registration.register_version(res, now)
        elif version is not None:
            version = res.registry.get(ENCODER_MODEL, version).version
        run_id = f"{backfill.EMBED}-{version or 'live'}-{now:%Y%m%dT%H%M%S}"
        new = run_backfill(
            res,
            backfill.EMBED,
            run_id,
            [version],
            lambda: backfill.measure_progress(res, version),
        )
        live = registration.find_live_version(res)
        encoder_version = version or live or ""
        with res.db.read() as db:
            row: dict[str, Any] = {
                "version": encoder_version,
                "new": new,
                "embedded": backfill.count_embedded(db, encoder_version),
                "missing": backfill.count_missing(db, encoder_version),
            }
        if live is not None and encoder_version != live:
            row |= evaluate_beside_live(res, encoder_version, now)
    if as_json:
        emit([row], as_json)
        return
    echo(
        msgid(
            "Version %(version)s of the image model has encoded %(embedded)s pictures,"
            " %(new)s of them now; %(missing)s cannot be read."
        ),
        **row,
    )
    if "go" in row:
        echo(
            msgid("%(decision)s beside the live version %(live)s. %(reasons)s"),
            decision="GO" if row["go"] else "NO-GO",
            live=live,
            reasons=" ".join(row["reasons"]),
        )


def evaluate_beside_live(res: "Resources", version: str, now: datetime) -> dict[str, Any]:
    """Record the gate's verdict on a version; empty if there are too few pictures to compare."""
    from tanuki.animals.vision.encoder import ENCODER_MODEL
    from tanuki.animals.vision.evaluation import category_names
    from tanuki.platform.accounts import SYSTEM

    try:
        evaluation = res.lifecycle.evaluate(ENCODER_MODEL, version, now)
    except UserError as error:
        echo(error.message, err=True, **error.values)
        return {}
    verdict = res.lifecycle.record_evaluation(ENCODER_MODEL, evaluation, actor=SYSTEM, now=now)
    with res.db.read() as db:
        labels = category_names(db, "en")
    return {"go": verdict.go, "reasons": res.lifecycle.render_reasons(verdict, say, labels)}


@click.command(
    help="Compare the image model's category of every published post with its owner's. All workers"
    " help; an interrupted run continues where it was."
)
@click.option("--again", is_flag=True, help="Encode every picture again before.")
@json_option
def classify(again: bool, as_json: bool) -> None:
    from tanuki.animals.vision import backfill

    with open_resources() as res:
        counts = run_backfill(
            res,
            backfill.CLASSIFY,
            f"{backfill.CLASSIFY}-{datetime.now(UTC):%Y%m%dT%H%M%S}",
            [again],
            lambda: backfill.measure_progress(res, None),
        )
    emit(tabulate_categories(counts), as_json)


def tabulate_categories(counts: "CategoryCounts") -> list[dict[str, Any]]:
    """For each category: posts by their owners, by the image model, by both, and unknown to it."""
    from tanuki.animals.taxonomy import CATEGORIES
    from tanuki.animals.vision.backfill import UNKNOWN_CATEGORY

    rows = []
    for category in CATEGORIES:
        by_owner = {model: count for owner, model, count in counts if owner == category}
        by_model = sum(count for _, model, count in counts if model == category)
        if by_owner or by_model:
            rows.append(
                {
                    "category": category,
                    "owners": sum(by_owner.values()),
                    "image_model": by_model,
                    "both": by_owner.get(category, 0),
                    "unknown": by_owner.get(UNKNOWN_CATEGORY, 0),
                }
            )
    return rows


def run_backfill(
    res: "Resources",
    workflow: str,
    run_id: str,
    arguments: Sequence[object],
    measure_progress: Callable[[], tuple[int, int]],
) -> Any:  # noqa: ANN401 what the workflow gives
    """Start a run, or join the one that is active, and wait for its result.

    measure_progress: pictures done, and of how many. Raises UserError if the run stopped.
    """
    with ExitStack() as stack:
        stack.enter_context(inline_worker(res))
        progress = stack.enter_context(progress_bars())
        active = [
            run.id
            for status in ("running", "queued")
            for run in res.jobs.list_runs(status=status, name=workflow)
        ]
        if active:
            run_id = active[0]
        else:
            with res.db.write() as db:
                res.jobs.enqueue(db, workflow, run_id, *arguments)
        while (run := res.jobs.load_run(run_id)).status in ("queued", "running"):
            time.sleep(POLL_SECONDS)
            done, total = measure_progress()
            if total:
                progress("pictures", done, total)
        if run.status != "done":
            raise UserError(
                "The run %(run)s stopped (%(status)s): %(why)s Then `tanuki jobs resume %(run)s`.",
                run=run_id,
                status=run.status,
                why=run.error or "",
            )
        return res.jobs.client.retrieve_workflow(run_id).get_result()
