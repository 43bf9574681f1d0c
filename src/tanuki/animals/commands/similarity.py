"""Commands of similar photos: find them for a post or a file, build the index."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.context import say
from tanuki.cli.output import emit, json_option
from tanuki.errors import UserError
from tanuki.i18n import msgid
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from tanuki.animals.similarity.search import SimilarFilter, SimilarPost
    from tanuki.platform.resources import Resources

QUERY_POSTS_PER_TRANSACTION = 200
MAX_TRAINING_SECONDS = 6 * 3600.0
REPORT_FIELDS = {
    "pictures": "images",
    "recall": "recall",
    "queries": "queries",
    "ms": "ms",
    "exact_ms": "exact_ms",
}
"""Fields of `train --json` by those of the gate's report."""


@click.command(
    help="Posts with photos similar to a post's or a file's. An imported post is named by its file."
)
@click.argument("post", type=click.IntRange(min=1), required=False)
@click.option(
    "--image",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A picture to search with; it is not stored.",
)
@click.option("--all", "every_post", is_flag=True, help="For every published post.")
@click.option(
    "--k", type=click.IntRange(1, 100), default=10, show_default=True, help="How many posts."
)
@click.option("--category", help="Only posts of this category.")
@json_option
def similar(
    post: int | None,
    image: Path | None,
    every_post: bool,
    k: int,
    category: str | None,
    as_json: bool,
) -> None:
    from tanuki.animals.similarity.search import SimilarFilter
    from tanuki.platform import log

    if [post is not None, image is not None, every_post].count(True) != 1:
        raise click.UsageError(say("Please name a post, a file with --image, or --all."))
    with open_resources() as res:
        log.set_up_logging(res.settings)  # to stderr: the results are on stdout
        filters = SimilarFilter(category)
        rows = (
            [find_similar_to_file(res, image, k, filters)]
            if image is not None
            else find_similar_to_posts(res, post, k, filters)
        )
        for row in rows:
            if as_json:
                emit([row], as_json)
            else:
                emit(tabulate_result(row), as_json, ["of", "similar", "score"])


def find_similar_to_file(
    res: "Resources", file: Path, k: int, filters: "SimilarFilter"
) -> dict[str, Any]:
    from tanuki.animals.similarity.search import SimilaritySearch

    with res.db.read() as db:
        search = SimilaritySearch(res, db, None, datetime.now(UTC))
        posts = search.similar_to_image(file.read_bytes(), k, filters)
        return result_row({"file": str(file)}, db, posts)


def find_similar_to_posts(
    res: "Resources", post_id: int | None, k: int, filters: "SimilarFilter"
) -> Iterator[dict[str, Any]]:
    """A row for a post, or for every published post, by id."""
    from sqlalchemy import select

    from tanuki.animals.similarity.search import SimilaritySearch
    from tanuki.animals.tables import Post, PostState

    now = datetime.now(UTC)
    last = 0
    while True:
        with res.db.read() as db:
            published = (
                select(Post.id)
                .where(Post.state == PostState.PUBLISHED, Post.id > last)
                .order_by(Post.id)
                .limit(QUERY_POSTS_PER_TRANSACTION)
            )
            ids = list(db.scalars(published)) if post_id is None else [post_id]
            for query_id in ids:
                posts = SimilaritySearch(res, db, None, now).similar_to_post(query_id, k, filters)
                yield result_row(name_posts(db, [query_id])[0], db, posts)
        if not ids or post_id is not None:
            return
        last = ids[-1]


def result_row(query: dict[str, Any], db: "Session", posts: "list[SimilarPost]") -> dict[str, Any]:
    """The result of a search; `query` names what was searched with."""
    names = name_posts(db, [post.post_id for post in posts])
    return {
        **query,
        "similar": [next(iter(name.values())) for name in names],
        "scores": [round(post.score, 4) for post in posts],
    }


def name_posts(db: "Session", ids: list[int]) -> list[dict[str, Any]]:
    """Each post by the file that it was imported from, else by its id."""
    from sqlalchemy import select

    from tanuki.animals.import_folder import KEY_PREFIX
    from tanuki.animals.tables import Post

    imported = select(Post.id, Post.source).where(Post.id.in_(ids), Post.key.startswith(KEY_PREFIX))
    files = {row.id: row.source for row in db.execute(imported)}
    return [
        {"file": files[post_id]} if files.get(post_id) else {"post": post_id} for post_id in ids
    ]


def tabulate_result(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A result as the rows of a table."""
    query = row.get("file", row.get("post"))
    return [
        {"of": query, "similar": name, "score": score}
        for name, score in zip(row["similar"], row["scores"], strict=True)
    ]


@click.command(
    help="Build the index of similar photos: encode new pictures, build the index, evaluate it and,"
    " on GO, make it live. On NO-GO each reason is a sentence, nothing changes and the exit code is"
    " 1."
)
@json_option
@click.pass_context
def train(ctx: click.Context, as_json: bool) -> None:
    with open_resources() as res:
        outcome = train_index(res)
    if as_json:
        emit([outcome], as_json)
    else:
        click.echo(outcome["outcome"])
        for sentence in outcome["reasons"]:
            click.echo(f"  {sentence}")
    ctx.exit(1 if outcome["go"] is False else 0)


def train_index(res: "Resources") -> dict[str, Any]:
    """Start a training, wait for its end, and describe its outcome. Raises UserError."""
    from tanuki.animals.similarity.index import INDEX_MODEL
    from tanuki.animals.similarity.training import TRAINING, training_run_id
    from tanuki.animals.vision.evaluation import category_names
    from tanuki.platform.mlops import release

    run_id = training_run_id(datetime.now(UTC))
    with ExitStack() as stack:
        stack.enter_context(inline_worker(res))
        with res.db.write() as db:
            res.jobs.enqueue(db, TRAINING, run_id)
        run = res.jobs.wait_for_run(run_id, seconds=MAX_TRAINING_SECONDS)
    if run.status != "done":
        raise UserError(
            "The run %(run)s is %(status)s: %(why)s",
            run=run_id,
            status=run.status,
            why=run.error or "",
        )
    versions = res.registry.versions(INDEX_MODEL)
    version = next(
        (version for version in versions if version.parameters.get("run") == run_id), None
    )
    if version is None:
        return {
            "run": run_id,
            "version": None,
            "go": None,
            "outcome": say(
                msgid("There are too few published pictures for an index; each one is compared.")
            ),
            "reasons": [],
        }
    with res.db.read() as db:
        verdict = release.latest_verdict(db, INDEX_MODEL, version.version)
        assert verdict is not None
        labels = category_names(db, "en")
        reasons = res.lifecycle.render_reasons(verdict, say, labels)
    outcome = (
        msgid("Version %(version)s of %(model)s: GO, it is live.")
        if verdict.go
        else msgid("Version %(version)s of %(model)s: NO-GO, nothing changes.")
    )
    return {
        "run": run_id,
        "version": version.version,
        "go": verdict.go,
        "outcome": say(outcome, version=version.version, model=INDEX_MODEL),
        "reasons": reasons,
        **{
            field: verdict.report[name]
            for field, name in REPORT_FIELDS.items()
            if name in verdict.report
        },
    }
