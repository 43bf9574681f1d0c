"""Rebuilding the search index on both engines."""

import pytest
from sqlalchemy import delete, select, text, update

from tanuki.animals.search import index, reindex
from tanuki.animals.search.autocomplete import suggest_searches
from tanuki.animals.search.index import PostText, SearchWord
from tanuki.animals.search.reindex import rebuild_index
from tanuki.animals.tables import Post
from tests.factories.published_posts import (
    NOW,
    make_indexed_post,
    make_unindexed_post,
    search_titles,
)


def load_index(db):
    """All rows of the index."""
    rows = [
        (row.post_id, row.tokens, row.suggestion_keys)
        for row in db.scalars(select(PostText).order_by(PostText.post_id))
    ]
    return rows, db.execute(
        select(SearchWord.key, SearchWord.kind, SearchWord.word, SearchWord.posts).order_by(
            SearchWord.key, SearchWord.kind, SearchWord.word
        )
    ).all()


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(reindex, "POSTS_PER_TRANSACTION", 3)


@pytest.mark.usefixtures("small_batches")
def test_a_rebuild_restores_lost_rows_and_deletes_wrong_ones(database):
    with database.write() as db:
        for n in range(8):
            make_indexed_post(db, f"子猫 {n}", tags=["昼寝"])
        removed_post = make_indexed_post(db, "犬")
    with database.write() as db:
        db.execute(update(Post).where(Post.id == removed_post.id).values(state="removed"))
        index_before = load_index(db)
        db.execute(delete(PostText).where(PostText.post_id.in_([2, 3, 4])))
        db.execute(update(SearchWord).values(posts=77))
    progress = []
    assert (
        rebuild_index(database, lambda done_count, total: progress.append((done_count, total))) == 8
    )
    assert progress == [(3, 8), (6, 8), (8, 8)]
    with database.write() as db:
        assert load_index(db)[0] == [row for row in index_before[0] if row[0] != removed_post.id]
        assert {suggestion.posts for suggestion in suggest_searches(db, "子猫", "ja")} == {8}
        assert suggest_searches(db, "犬", "ja") == []
        assert len(search_titles(db, "昼寝")) == 8
        if database.embedded:
            db.execute(text("insert into post_fts(post_fts, rank) values ('integrity-check', 1)"))


@pytest.mark.usefixtures("small_batches")
def test_changes_during_a_rebuild_are_kept(database):
    with database.write() as db:
        for n in range(6):
            make_unindexed_post(db, f"子猫 {n}")

    def change_posts(done_count, _total):
        if done_count == 3:
            # The next batch is read after this: edit an indexed post, hold one, publish one.
            with database.write() as db:
                post = db.get(Post, 1)
                post.title, post.version = "柴犬", 2
                index.index_post(db, post)
                db.execute(update(Post).where(Post.id == 5).values(state="held"))
                index.unindex_post(db, 5)
                make_indexed_post(db, "文鳥", published_at=NOW)

    assert rebuild_index(database, change_posts) == 6
    with database.read() as db:
        assert search_titles(db, "柴犬") == ["柴犬"]
        assert search_titles(db, "文鳥") == ["文鳥"]
        assert search_titles(db, "子猫", sort="newest") == [f"子猫 {n}" for n in (5, 3, 2, 1)]


def test_a_changed_post_is_not_overwritten_with_old_text(database):
    with database.write() as db:
        unchanged_post, edited_post, held_post = (
            make_unindexed_post(db, title) for title in ("a", "b", "c")
        )
        edited_post.version = 2
        held_post.state = "held"
        db.flush()
        assert reindex.load_unchanged_ids(
            db, {unchanged_post.id: 1, edited_post.id: 1, held_post.id: 1}
        ) == {unchanged_post.id}


def test_the_index_is_empty_without_posts(database):
    assert rebuild_index(database) == 0
