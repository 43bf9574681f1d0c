"""Commands of the community: the example site, imports, search, the search index, the audit log."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tanuki.cli.output import emit, json_option, print_passwords
from tanuki.cli.progress import progress_bars
from tanuki.platform.commands.context import open_resources
from tanuki.platform.commands.inline_worker import inline_worker

if TYPE_CHECKING:
    from tanuki.platform.resources import Resources

REVIEW_POLL_SECONDS = 0.3


@click.command(
    help="Create the example community: a thousand photos composed from a Debian package's "
    "cut-outs, forty members, weeks of likes, comments and visits, and an index of similar photos. "
    "If interrupted, it continues where it was; repeated, it creates nothing twice."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Another seed gives another community.",
)
@click.option(
    "--photos",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Your own photos instead of the package's.",
)
@click.option(
    "--count", type=click.IntRange(min=1), default=1000, show_default=True, help="How many photos."
)
def example(seed: int, folder: Path | None, count: int) -> None:
    from tanuki.animals.commands.similarity import train_index
    from tanuki.animals.example.seed import create_example
    from tanuki.animals.similarity.index import INDEX_MODEL
    from tanuki.platform.mlops import rollout

    with open_resources() as res:
        with progress_bars() as progress:
            created = create_example(
                res,
                seed=seed,
                now=datetime.now(UTC),
                photos=count,
                folder=folder,
                progress=progress,
            )
        click.echo(f"{created.posts} photos are on the site, {created.new_posts} of them new.")
        with res.db.read() as db:
            has_index = rollout.load_rollout(db, INDEX_MODEL) is not None
        if not has_index:
            click.echo(train_index(res)["outcome"])
    print_passwords(created.passwords)


@click.command(
    "import",
    help="Post a folder of photos as one member. If interrupted, it continues where it was; a file "
    "is one post, however often it is imported.",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--as", "name", required=True, help="The member who posts them.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="CSV with the column file, and any of title, description, tags (comma-separated), "
    "category, breed, label.",
)
def import_(folder: Path, name: str, manifest: Path | None) -> None:
    from tanuki.animals.import_folder import import_photos
    from tanuki.platform import accounts

    with open_resources() as res, ExitStack() as stack:
        stack.enter_context(inline_worker(res))
        with res.db.read() as db:
            person = accounts.find_person(db, accounts.load_account(db, name).name)
        if person is None:
            raise click.UsageError(f"The account {name} is disabled.")
        progress = stack.enter_context(progress_bars())
        result = import_photos(
            res,
            person,
            folder,
            manifest,
            progress=lambda done, total: progress("photos", done, total),
        )
        wait_for_reviews(res)
    click.echo(
        f"{result.posted} posted, {result.already_posted} already there, "
        f"{len(result.refused)} refused."
    )
    for file, error in result.refused:
        click.echo(f"  {file}: {error}")


@click.command(help="Search published posts in Japanese or English.")
@click.argument("query")
@click.option("--category", help="Only posts of this category.")
@click.option(
    "--sort",
    type=click.Choice(["relevance", "newest", "likes"]),
    default="relevance",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@json_option
def search(query: str, category: str | None, sort: str, limit: int, as_json: bool) -> None:
    from tanuki.animals import post_queries
    from tanuki.animals.search.search import SearchOptions, search_posts

    with open_resources() as res, res.db.read() as db:
        page = search_posts(db, query, SearchOptions(category=category, sort=sort, limit=limit))
        posts = post_queries.load_listed_posts(db, None, [hit.post_id for hit in page.posts])
        rows = [
            {
                "id": card.post.id,
                "title": card.post.title,
                "category": card.post.category,
                "member": card.member.name,
                "likes": card.post.likes,
            }
            for card in post_queries.build_cards(db, None, posts)
        ]
    emit(rows, as_json, ["id", "title", "category", "member", "likes"])


@click.command(
    help="Rebuild the search index of all published posts while the site is running; needed after "
    "a change of tokenization. Similar photos have an index of their own, which `tanuki animals "
    "train` builds; --pictures does that as well."
)
@click.option("--pictures", is_flag=True, help="Also build the index of similar photos.")
def reindex(pictures: bool) -> None:
    from tanuki.animals.search.reindex import rebuild_index

    with open_resources() as res:
        with progress_bars() as progress:
            count = rebuild_index(res.db, lambda done, total: progress("posts", done, total))
        click.echo(f"{count} posts are in the index.")
        if pictures:
            from tanuki.animals.commands.similarity import train_index

            training = train_index(res)
            click.echo(training["outcome"])
            for reason in training["reasons"]:
                click.echo(f"  {reason}")


@click.command(
    "audit-log",
    help="Show what moderators and administrators did, newest first, and check that the log was "
    "not altered; exit code 1 if it was.",
)
@click.option("--about", "target", help="Only entries about one target, such as post:12.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def show_audit_log(target: str | None, limit: int, as_json: bool) -> None:
    from tanuki.platform import audit_log

    with open_resources() as res, res.db.read() as db:
        entries = audit_log.load_entries(db, target, limit=limit)
        broken_id = audit_log.find_broken_entry(db)
    rows = [
        {
            "id": entry.id,
            "at": entry.at,
            "actor": entry.actor,
            "action": entry.action,
            "target": entry.target,
        }
        for entry in entries
    ]
    emit(rows, as_json)
    if broken_id is not None:
        click.echo(
            f"The audit log was altered: entry {broken_id} does not fit the one before it.",
            err=True,
        )
        raise SystemExit(1)


def wait_for_reviews(res: "Resources") -> None:
    """Wait until every post has been reviewed."""
    from sqlalchemy import select

    from tanuki.animals.tables import Post, PostState

    checking = select(Post.id).where(Post.state == PostState.CHECKING).limit(1)
    while True:
        with res.db.read() as db:
            if db.scalar(checking) is None:
                return
        time.sleep(REVIEW_POLL_SECONDS)
