"""Commands about similar pictures: what is similar to a post or a file, and making the index anew."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tanuki.animals.similarity.search import SimilarFilter, SimilarPost
    from tanuki.platform.resources import Resources

AT_ONCE = 200  # posts whose neighbours are asked for in one read
HOURS = 6.0  # that a training may take, before the command no longer waits for it


@click.command(
    help="Posts with pictures similar to a post's or a file's. An imported post is named by its file."
)
@click.argument("post", type=click.IntRange(min=1), required=False)
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A picture that is only compared.",
)
@click.option("--all", "every", is_flag=True, help="Of every published post.")
@click.option("--k", type=click.IntRange(1, 100), default=10, show_default=True, help="How many.")
@click.option("--category", help="Only posts of this category.")
@json_option
def similar(
    post: int | None, image: Path | None, every: bool, k: int, category: str | None, as_json: bool
) -> None:
    from tanuki.animals.similarity.search import SimilarFilter
    from tanuki.platform import log

    if [post is not None, image is not None, every].count(True) != 1:
        raise click.UsageError("Please name a post, a file with --image, or --all.")
    with open_resources() as res:
        log.set_up(res.settings)  # to stderr: what is printed is the answers
        for row in answers(res, post, image, k, SimilarFilter(category)):
            if as_json:
                emit([row], as_json)
            else:
                emit(told(row), as_json, ["of", "similar", "score"])


def answers(
    res: "Resources", post: int | None, image: Path | None, k: int, asked: "SimilarFilter"
) -> Iterator[dict[str, Any]]:
    """What is similar to each that is asked about."""
    from sqlalchemy import select

    from tanuki.animals.similarity import search
    from tanuki.animals.tables import Post, PostState

    now = datetime.now(UTC)
    if image is not None:
        with res.db.read() as db:
            found = search.to_picture(res, db, None, image.read_bytes(), k=k, asked=asked, now=now)
            yield row({"file": str(image)}, db, found)
        return
    last = 0
    while True:
        with res.db.read() as db:
            wanted = (
                select(Post.id)
                .where(Post.state == PostState.PUBLISHED, Post.id > last)
                .order_by(Post.id)
                .limit(AT_ONCE)
            )
            ids = list(db.scalars(wanted)) if post is None else [post]
            for each in ids:
                found = search.find_similar_to_post(res, db, None, each, k=k, asked=asked, now=now)
                yield row(named(db, [each])[0], db, found)
        if not ids or post is not None:
            return
        last = ids[-1]


def row(of: dict[str, Any], db: "Session", found: "list[SimilarPost]") -> dict[str, Any]:
    """One answer as it is printed."""
    names = [next(iter(each.values())) for each in named(db, [each.post_id for each in found])]
    return {**of, "similar": names, "scores": [round(each.score, 4) for each in found]}


def named(db: "Session", ids: list[int]) -> list[dict[str, Any]]:
    """Posts by the files they were imported from, or by their ids."""
    from sqlalchemy import select

    from tanuki.animals.import_folder import KEY_PREFIX
    from tanuki.animals.tables import Post

    brought = select(Post.id, Post.source).where(Post.id.in_(ids), Post.key.startswith(KEY_PREFIX))
    sources = {each.id: each.source for each in db.execute(brought)}
    return [{"file": sources[each]} if sources.get(each) else {"post": each} for each in ids]


def told(row: dict[str, Any]) -> list[dict[str, Any]]:
    """One answer as a table for people."""
    of = row.get("file", row.get("post"))
    return [
        {"of": of, "similar": name, "score": score}
        for name, score in zip(row["similar"], row["scores"], strict=True)
    ]


@click.command(
    help="Make the index of similar pictures anew: the eyes look at what they have not seen, the index is built, judged and, on GO, live. "
    "On NO-GO there is a sentence for each reason, nothing changes and the exit code is 1."
)
@json_option
@click.pass_context
def train(ctx: click.Context, as_json: bool) -> None:
    with open_resources() as res:
        said = trained(res)
    if as_json:
        emit([said], as_json)
    else:
        click.echo(said["outcome"])
        for sentence in said["reasons"]:
            click.echo(f"  {sentence}")
    ctx.exit(1 if said["go"] is False else 0)


def trained(res: "Resources") -> dict[str, Any]:
    """Start a training, wait for its end, and say what came of it."""
    from tanuki.animals.similarity import messages, training
    from tanuki.animals.similarity.index import INDEX_MODEL
    from tanuki.errors import UserError
    from tanuki.platform.mlops import release

    run = training.run_id(datetime.now(UTC))
    with ExitStack() as stack:
        stack.enter_context(inline_worker(res))
        with res.db.write() as db:
            res.jobs.enqueue(db, training.TRAINING, run)
        ended = res.jobs.wait_for_run(run, seconds=3600 * HOURS)
    if ended.status != "done":
        raise UserError(
            "The run %(run)s is %(status)s: %(why)s",
            run=run,
            status=ended.status,
            why=ended.error or "",
        )
    made = next(
        (
            version
            for version in res.registry.versions(INDEX_MODEL)
            if version.parameters.get("run") == run
        ),
        None,
    )
    if made is None:
        return {
            "run": run,
            "version": None,
            "go": None,
            "outcome": "There are too few published pictures for an index; each is compared.",
            "reasons": [],
        }
    with res.db.read() as db:
        verdict = release.latest_verdict(db, INDEX_MODEL, made.version)
        assert verdict is not None
    return {
        "run": run,
        "version": made.version,
        "go": verdict.go,
        "outcome": f"Version {made.version} of {INDEX_MODEL}: {'GO, it is live.' if verdict.go else 'NO-GO, nothing changes.'}",
        "reasons": [messages.render_reason(reason, "en") for reason in verdict.report["reasons"]],
        **{
            name: verdict.report[name]
            for name in ("pictures", "recall", "queries", "ms", "exact_ms")
            if name in verdict.report
        },
    }
