"""The index made anew from the posts, while the network goes on: for the command `tanuki animals reindex`, after a change of how words are cut."""

from collections import Counter
from collections.abc import Callable

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from tanuki.animals.search.index import PostTokenOffsets, PostText, SearchWord, add_suggestion_counts, build_row, write_rows
from tanuki.animals.tables import Post, PostState
from tanuki.platform.database.engine import Database

POSTS_PER_TRANSACTION = 200  # posts in a transaction: their words are cut before it begins, so it is short


def rebuild_index(
    database: Database, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> int:
    """Index every published post anew and forget all others, some at a time; `progress` hears how many are done of how many. How many posts are in the index then."""
    with database.read() as db:
        total = (
            db.scalar(select(func.count()).select_from(Post).where(Post.state == PostState.PUBLISHED)) or 0
        )
    done, last = 0, 0
    while True:
        with database.read() as db:
            posts = db.scalars(
                select(Post)
                .where(Post.state == PostState.PUBLISHED, Post.id > last)
                .order_by(Post.id)
                .limit(POSTS_PER_TRANSACTION)
            ).all()
        if not posts:
            break
        rows = [build_row(post) for post in posts]
        versions = {post.id: post.version for post in posts}
        with database.write() as db:
            same = load_unchanged_ids(db, versions)
            write_rows(db, [each for each in rows if each.post_id in same])
        done, last = done + len(posts), posts[-1].id
        progress(done, max(total, done))
    with database.write() as db:
        return finish_rebuild(db)


def load_unchanged_ids(db: Session, versions: dict[int, int]) -> set[int]:
    """Those of the posts that are still published as they were read; who changes one indexes it too."""
    current = db.execute(
        select(Post.id, Post.version)
        .where(Post.id.in_(versions), Post.state == PostState.PUBLISHED)
        .with_for_update(read=True)
    )
    return {id for id, version in current if versions[id] == version}


def finish_rebuild(db: Session) -> int:
    """Forget posts that are not published, count the suggestions from the beginning, and say how many posts there are."""
    if db.connection().dialect.name == "postgresql":
        db.execute(
            text("lock table search_word in exclusive mode")
        )  # nobody counts meanwhile; SQLite has one writer anyway
    published = select(Post.id).where(Post.state == PostState.PUBLISHED)
    for table in (PostText, PostTokenOffsets):
        db.execute(
            delete(table)
            .where(table.post_id.not_in(published))
            .execution_options(synchronize_session=False)
        )
    db.execute(delete(SearchWord))
    counts: Counter[tuple[str, ...]] = Counter()
    posts = 0
    for counted in db.scalars(select(PostText.suggestion_keys).execution_options(yield_per=1_000)):
        posts += 1
        counts.update(tuple(key) for key in counted)
    add_suggestion_counts(db, dict(counts))
    return posts
