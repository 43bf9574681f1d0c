"""Commands that fill and search the network: the example, a folder of photos, words, the index, the trail."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tanuki.cli.output import emit, json_option, resources, tell_passwords

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

    with resources() as res:
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
            trains = rollout.plan(db, INDEX_MODEL) is None
        if trains:
            click.echo(trained(res)["outcome"])
    tell_passwords(made.passwords)


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
    from tanuki.animals.import_folder import bring
    from tanuki.platform import accounts

    with resources() as res, ExitStack() as stack:
        worker_at_hand(res, stack)
        with res.db.read() as db:
            who = accounts.person(db, accounts.account(db, name).name)
        if who is None:
            raise click.UsageError(f"The account {name} is shut.")
        progress = stack.enter_context(progress_bars())
        done = bring(
            res,
            who,
            folder,
            manifest,
            progress=lambda number, whole: progress("photos", number, whole),
        )
        settle(res)
    click.echo(f"{done.new} posted, {done.known} there already, {len(done.refused)} refused.")
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
    from tanuki.animals import posts
    from tanuki.animals.search.search import search as find

    with resources() as res, res.db.read() as db:
        found = find(db, query, category=category, sort=sort, limit=limit)
        cards = posts.build_cards(db, None, posts.load_listed_posts(db, None, [hit.post_id for hit in found.posts]))
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
    from tanuki.animals.search.reindex import rebuild

    with resources() as res:
        with progress_bars() as progress:
            count = rebuild(res.db, lambda number, whole: progress("posts", number, whole))
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

    with resources() as res, res.db.read() as db:
        entries = trail_file.entries(db, about, limit=limit)
        broken = trail_file.check(db)
    emit(
        [
            {
                "id": entry.id,
                "at": entry.at,
                "by": entry.by,
                "what": entry.what,
                "about": entry.about,
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


def worker_at_hand(res: "Resources", stack: ExitStack) -> None:
    """This process does the durable work, unless a worker is there already."""
    from tanuki.app.processes import working
    from tanuki.platform.jobs import workers

    with res.db.read() as db:
        alone = not workers(db, datetime.now(UTC))
    if alone:
        stack.enter_context(working(res, schedules=False))


def settle(res: "Resources") -> None:
    """Wait until every post has been checked."""
    from sqlalchemy import select

    from tanuki.animals.tables import Post

    while True:
        with res.db.read() as db:
            if db.scalar(select(Post.id).where(Post.state == "checking").limit(1)) is None:
                return
        time.sleep(SETTLE_SECONDS)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each thing that is counted, on stderr: what, how many are done, of how many."""
    with ExitStack() as stack:
        bars: dict[str, Any] = {}

        def progress(what: str, done: int, whole: int) -> None:
            if what not in bars:
                stack.close()
                bars[what] = stack.enter_context(
                    click.progressbar(length=whole, label=what, file=sys.stderr)
                )
            bars[what].update(done - bars[what].pos)

        yield progress
