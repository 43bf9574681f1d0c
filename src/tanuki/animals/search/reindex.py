"""The search index rebuilt from the posts while the site is running.

`tanuki animals reindex` does this after a change of tokenization.
"""

from collections import Counter
from collections.abc import Callable

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from tanuki.animals.search.index import (
    PostText,
    PostTokenOffsets,
    SearchWord,
    add_suggestion_counts,
    build_row,
    write_rows,
)
from tanuki.animals.tables import Post, PostState
from tanuki.platform.database.engine import Database

POSTS_PER_TRANSACTION = 200  # tokenized before it begins, so it is short


def rebuild_index(
    database: Database, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> int:
    """Index every published post again and remove all others; gives the number of indexed posts.

    `progress` is called with the number of posts that are done and the number of all.
    """
    published = Post.state == PostState.PUBLISHED
    with database.read() as db:
        total = db.scalar(select(func.count()).select_from(Post).where(published)) or 0
    done, last_id = 0, 0
    while True:
        some = select(Post).where(published, Post.id > last_id).order_by(Post.id)
        with database.read() as db:
            posts = db.scalars(some.limit(POSTS_PER_TRANSACTION)).all()
        if not posts:
            break
        rows = [build_row(post) for post in posts]
        versions = {post.id: post.version for post in posts}
        with database.write() as db:
            unchanged = load_unchanged_ids(db, versions)
            write_rows(db, [row for row in rows if row.post_id in unchanged])
        done, last_id = done + len(posts), posts[-1].id
        progress(done, max(total, done))
    with database.write() as db:
        return finish_rebuild(db)


def load_unchanged_ids(db: Session, versions: dict[int, int]) -> set[int]:
    """The posts that still have these versions and are published. Whoever changed another one has
    indexed it."""
    current = db.execute(
        select(Post.id, Post.version)
        .where(Post.id.in_(versions), Post.state == PostState.PUBLISHED)
        .with_for_update(read=True)
    )
    return {id_ for id_, version in current if versions[id_] == version}


def finish_rebuild(db: Session) -> int:
    """Remove posts that are not published, recount suggestions, and give the number of posts."""
    if db.connection().dialect.name == "postgresql":
        # Nobody else may count meanwhile; SQLite has only one writer anyway.
        db.execute(text("lock table search_word in exclusive mode"))
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
    for keys in db.scalars(select(PostText.suggestion_keys).execution_options(yield_per=1_000)):
        posts += 1
        counts.update(tuple(key) for key in keys)
    add_suggestion_counts(db, dict(counts))
    return posts
