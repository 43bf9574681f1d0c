"""The index made anew, on both engines, whatever became of it."""

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


def everything(db):
    """All that the index holds."""
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
def test_what_was_lost_comes_back_and_what_should_not_be_there_goes(database):
    with database.write() as db:
        for n in range(8):
            make_indexed_post(db, f"子猫 {n}", tags=["昼寝"])
        removed = make_indexed_post(db, "犬")
    with database.write() as db:
        db.execute(update(Post).where(Post.id == removed.id).values(state="removed"))
        whole = everything(db)
        db.execute(delete(PostText).where(PostText.post_id.in_([2, 3, 4])))
        db.execute(update(SearchWord).values(posts=77))
    heard = []
    assert rebuild_index(database, lambda done, total: heard.append((done, total))) == 8
    assert heard == [(3, 8), (6, 8), (8, 8)]
    with database.write() as db:
        assert everything(db)[0] == [row for row in whole[0] if row[0] != removed.id]
        assert {each.posts for each in suggest_searches(db, "子猫", "ja")} == {8}
        assert suggest_searches(db, "犬", "ja") == []
        assert len(search_titles(db, "昼寝")) == 8
        if database.embedded:
            db.execute(text("insert into post_fts(post_fts, rank) values ('integrity-check', 1)"))


@pytest.mark.usefixtures("small_batches")
def test_posts_that_change_meanwhile_are_as_their_writers_left_them(database):
    with database.write() as db:
        for n in range(6):
            make_unindexed_post(db, f"子猫 {n}")

    def edit(done, _total):
        if (
            done == 3
        ):  # the next ones are read after this; so change one of those just done, take one away and publish one
            with database.write() as db:
                first = db.get(Post, 1)
                first.title, first.version = "柴犬", 2
                index.index_post(db, first)
                db.execute(update(Post).where(Post.id == 5).values(state="held"))
                index.unindex_post(db, 5)
                make_indexed_post(db, "文鳥", published_at=NOW)

    assert rebuild_index(database, edit) == 6
    with database.read() as db:
        assert search_titles(db, "柴犬") == ["柴犬"]
        assert search_titles(db, "文鳥") == ["文鳥"]
        assert search_titles(db, "子猫", sort="newest") == [f"子猫 {n}" for n in (5, 3, 2, 1)]


def test_a_row_read_before_a_change_is_not_written_after_it(database):
    with database.write() as db:
        kept, edited, held = (make_unindexed_post(db, title) for title in ("a", "b", "c"))
        edited.version = 2
        held.state = "held"
        db.flush()
        assert reindex.load_unchanged_ids(db, {kept.id: 1, edited.id: 1, held.id: 1}) == {kept.id}


def test_an_empty_network_has_an_empty_index(database):
    assert rebuild_index(database) == 0
