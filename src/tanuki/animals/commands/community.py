"""Commands that fill and search the network: the example, a folder of photos, words, the index, the trail."""

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

SETTLE_SECONDS = 0.3  # between looks whether what was posted is published


@click.command(
    help="Make the example network: a thousand photos composed from a Debian package's cut-outs, forty members, weeks of their likes, comments and visits; and an index of similar photos. "
    "Interrupted, it goes on where it was; done again, it makes nothing twice."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Another seed, another network.",
)
@click.option(
    "--photos",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Photos of your own instead of the package's.",
)
@click.option(
    "--count", type=click.IntRange(min=1), default=1000, show_default=True, help="How many photos."
)
def example(seed: int, folder: Path | None, count: int) -> None:
    from tanuki.animals.commands.similarity import trained
    from tanuki.animals.example.seed import make
    from tanuki.animals.similarity.index import INDEX_MODEL
    from tanuki.platform.mlops import rollout

    with open_resources() as res:
        with progress_bars() as progress:
            made = make(
                res,
                seed=seed,
                now=datetime.now(UTC),
                photos=count,
                folder=folder,
                progress=progress,
            )
        click.echo(f"{made.posts} photos are on the network, {made.new} of them new.")
        with res.db.read() as db:
            trains = rollout.load_rollout(db, INDEX_MODEL) is None
        if trains:
            click.echo(trained(res)["outcome"])
    print_passwords(made.passwords)


@click.command(
    "import",
    help="Post a folder of photos as one member's. Interrupted, it goes on where it was; a file is one post, however often it is brought.",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--as", "name", required=True, help="Whose posts they become.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="CSV with the column file, and any of title, description, tags (comma-separated), category, breed, label.",
)
def import_(folder: Path, name: str, manifest: Path | None) -> None:
    from tanuki.animals.import_folder import import_photos
    from tanuki.platform import accounts

    with open_resources() as res, ExitStack() as stack:
        stack.enter_context(inline_worker(res))
        with res.db.read() as db:
            who = accounts.find_person(db, accounts.load_account(db, name).name)
        if who is None:
            raise click.UsageError(f"The account {name} is shut.")
        progress = stack.enter_context(progress_bars())
        done = import_photos(
            res,
            who,
            folder,
            manifest,
            progress=lambda number, whole: progress("photos", number, whole),
        )
        settle(res)
    click.echo(f"{done.posted} posted, {done.already_posted} there already, {len(done.refused)} refused.")
    for file, wrong in done.refused:
        click.echo(f"  {file}: {wrong}")


@click.command(help="Search the published posts by words, Japanese or English.")
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
    from tanuki.animals.search.search import search_posts as find

    with open_resources() as res, res.db.read() as db:
        found = find(db, query, category=category, sort=sort, limit=limit)
        cards = post_queries.build_cards(db, None, post_queries.load_listed_posts(db, None, [hit.post_id for hit in found.posts]))
        rows = [
            {
                "id": card.post.id,
                "title": card.post.title,
                "category": card.post.category,
                "member": card.member.name,
                "likes": card.post.likes,
            }
            for card in cards
        ]
    emit(rows, as_json, ["id", "title", "category", "member", "likes"])


@click.command(
    help="Index the words of every published post anew, while the network goes on; after a change of how words are cut. Pictures have an index of their "
    "own, which `tanuki animals train` makes anew; --pictures does that, too."
)
@click.option("--pictures", is_flag=True, help="Then make the index of similar pictures anew.")
def reindex(pictures: bool) -> None:
    from tanuki.animals.search.reindex import rebuild_index

    with open_resources() as res:
        with progress_bars() as progress:
            count = rebuild_index(res.db, lambda number, whole: progress("posts", number, whole))
        click.echo(f"{count} posts are in the index.")
        if pictures:
            from tanuki.animals.commands.similarity import trained

            said = trained(res)
            click.echo(
                "\n".join([said["outcome"], *(f"  {sentence}" for sentence in said["reasons"])])
            )


@click.command(
    help="What moderators did, newest first, and whether the trail was changed by somebody; exit code 1 when it was."
)
@click.option("--about", help="Only about one thing, such as post:12.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
def trail(about: str | None, limit: int, as_json: bool) -> None:
    from tanuki.platform import audit_log as trail_file

    with open_resources() as res, res.db.read() as db:
        entries = trail_file.load_entries(db, about, limit=limit)
        broken = trail_file.find_broken_entry(db)
    emit(
        [
            {
                "id": entry.id,
                "at": entry.at,
                "by": entry.actor,
                "what": entry.action,
                "about": entry.target,
            }
            for entry in entries
        ],
        as_json,
    )
    if broken is not None:
        click.echo(
            f"The trail was changed: entry {broken} does not fit the one before it.", err=True
        )
        raise SystemExit(1)


# ---- together ------------------------------------------------------------------------------------------------------


def settle(res: "Resources") -> None:
    """Wait until every post has been checked."""
    from sqlalchemy import select

    from tanuki.animals.tables import Post, PostState

    while True:
        with res.db.read() as db:
            if db.scalar(select(Post.id).where(Post.state == PostState.CHECKING).limit(1)) is None:
                return
        time.sleep(SETTLE_SECONDS)
