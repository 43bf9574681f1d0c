"""The index of published posts: its tables, and how a post comes in and goes out, inside the caller's transaction.

`post_text` holds each post's tokens. On SQLite an FTS5 table indexes them and triggers keep it so; on PostgreSQL they are a tsvector with a GIN index. Both get the same tokens, ours, so neither's own
idea of words plays a part. A token stands once plainly, once more marked for the title and for title, tags and kind together: that is how relevance is asked for without looking at places.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Connection,
    Dialect,
    ForeignKey,
    Index,
    String,
    Text,
    TypeDecorator,
    delete,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.animals.search.japanese import pieces
from tanuki.animals.search.kana import hiragana, is_kana, romaji
from tanuki.animals.search.normalize import fold
from tanuki.animals.search.synonyms import sign, signs, unparted
from tanuki.animals.search.tokenize import index_tokens, spans
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS
from tanuki.platform.database.engine import Base

# Private letters that begin marked tokens; no text holds them, since only letters, digits and their signs become tokens.
TITLE, NAMED, ANYWHERE = (
    "\ue001",
    "\ue002",
    "",
)  # in the title; in the title, the tags, the category or the breed; wherever
OF_CATEGORY, OF_BREED, TAGGED = (
    "\ue003",
    "\ue004",
    "\ue005",
)  # for filters: chosen, not only mentioned
IN_LATIN = "ー"  # begins a suggestion's key in Latin letters
MOST_KEY = 60  # letters
ROWS_AT_ONCE = 1_000


class Tokens(TypeDecorator[list[str]]):
    """A set of tokens: a tsvector on PostgreSQL, else a text with a space before and after each."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(
            postgresql.TSVECTOR() if dialect.name == "postgresql" else Text()
        )

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return (
            " ".join(f"'{token}'" for token in value)
            if dialect.name == "postgresql"
            else f" {' '.join(value)} "
        )

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[str] | None:
        return None if value is None else value.replace("'", "").split()


class PostText(Base):
    """The tokens of a published post, and what it gave to suggestions."""

    __tablename__ = "post_text"
    __table_args__ = (
        Index(
            "ix_post_text_words",
            "words",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
            info={"only": "postgresql"},
        ).ddl_if(dialect="postgresql"),
    )

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    words: Mapped[list[str]] = mapped_column(Tokens)
    counted: Mapped[list[list[str]]] = mapped_column(
        JSON
    )  # [key, kind, word] of each row in search_word that counts this post


class PostPlaces(Base):
    """Where in a published post its tokens stand, for highlights: cutting two dozen posts into words again would cost more than finding them. [[start, end, "token token"], …]"""

    __tablename__ = "post_places"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    title: Mapped[list[Any]] = mapped_column(JSON)
    description: Mapped[list[Any]] = mapped_column(JSON)


class SearchWord(Base):
    """A word, tag, category or breed that can be suggested, under each key by which it can be begun, and how many published posts have it."""

    __tablename__ = "search_word"

    key: Mapped[str] = mapped_column(
        String().with_variant(String(collation="C"), "postgresql"), primary_key=True
    )  # sorted by letters' numbers on both engines
    kind: Mapped[str] = mapped_column(primary_key=True)  # word, tag, category or breed
    word: Mapped[str] = mapped_column(
        String().with_variant(String(collation="C"), "postgresql"), primary_key=True
    )  # as it is shown; a code of species.py
    posts: Mapped[int]


Place = tuple[int, int, str]


class Row(NamedTuple):
    """A post as the index keeps it."""

    post_id: int
    words: list[str]
    counted: list[list[str]]
    title: list[Place]
    description: list[Place]


# ---- the engines' own ----------------------------------------------------------------------------------------------

FTS5 = (
    # Our tokens part at spaces only and are folded already; the tokeniser `ascii` leaves every other letter as it is. No places, no sizes: nothing asks for phrases or scores.
    "create virtual table if not exists post_fts using fts5(words, content='post_text', content_rowid='post_id', tokenize='ascii', detail='none', columnsize=0)",
    "create trigger if not exists post_text_put after insert on post_text begin insert into post_fts(rowid, words) values (new.post_id, new.words); end",
    "create trigger if not exists post_text_take after delete on post_text begin insert into post_fts(post_fts, rowid, words) values ('delete', old.post_id, old.words); end",
    "create trigger if not exists post_text_change after update of words on post_text begin"
    " insert into post_fts(post_fts, rowid, words) values ('delete', old.post_id, old.words); insert into post_fts(rowid, words) values (new.post_id, new.words); end",
)
TSVECTOR = (
    # A row's tokens stay in the row up to 8 KB and are never packed: reading a popular post's tokens is then one page and no work.
    "alter table post_text set (toast_tuple_target = 8160)",
    "alter table post_text alter column words set storage external",
    # Without the pending list: a search would read all of it.
    "create index if not exists ix_post_text_words on post_text using gin (words) with (fastupdate = off)",
)


def create(connection: Connection) -> None:
    """What `post_text` needs beside the table itself, on this engine; for the migration, and after create_all."""
    for statement in FTS5 if connection.dialect.name == "sqlite" else TSVECTOR:
        connection.exec_driver_sql(statement)


def drop(connection: Connection) -> None:
    """Take away what `create` made, before the table goes."""
    if connection.dialect.name == "sqlite":
        for statement in (
            "drop table if exists post_fts",
            *(f"drop trigger if exists post_text_{name}" for name in ("put", "take", "change")),
        ):
            connection.exec_driver_sql(statement)


@event.listens_for(PostText.__table__, "after_create")
def created(_table: Any, connection: Connection, **_: Any) -> None:
    create(connection)


# ---- in and out ----------------------------------------------------------------------------------------------------


def put(db: Session, post: Post) -> None:
    """A published post can be found from the moment the transaction is committed; one that is there already is found by its new words."""
    store(db, [row(post)])


def take(db: Session, post_id: int) -> None:
    """A post is found no more."""
    store(db, [], gone=[post_id])


def row(post: Post) -> Row:
    """A post's tokens and what it gives to suggestions; takes about a millisecond and needs no database."""
    title = set(index_tokens(post.title))
    named = title.union(
        *(index_tokens(tag) for tag in post.tags),
        signs(post.category),
        signs(post.breed) if post.breed else (),
    )
    filters = filter_tokens(post.category, post.breed, *post.tags)
    words = {
        *named,
        *index_tokens(post.description),
        *filters,
        *(NAMED + token for token in named),
        *(TITLE + token for token in title),
    }
    return Row(
        post.id,
        sorted(words),
        [list(key) for key in sorted(suggested(post))],
        places(post.title),
        places(post.description),
    )


def places(text: str) -> list[Place]:
    """Where a text's tokens stand in it."""
    return [(span.start, span.end, " ".join(span.tokens)) for span in spans(text)]


def filter_tokens(category: str | None, breed: str | None, *tags: str) -> list[str]:
    """The tokens of a post for what was chosen when it was written; a tag as tags are compared."""
    folded = (fold("".join(filter(str.isprintable, tag)))[:MOST_KEY] for tag in tags)
    chosen = [(OF_CATEGORY, category), (OF_BREED, breed), *((TAGGED, tag) for tag in folded)]
    return [mark + unparted(text) for mark, text in chosen if text is not None]


def suggested(post: Post) -> set[tuple[str, str, str]]:
    """Keys, kinds and words by which a post counts in suggestions: its category and breed, its tags, and the title's nouns and English words."""
    found = {(sign(post.category), "category", post.category)}
    if post.breed in BREEDS:
        found.add((sign(post.breed), "breed", post.breed))
    for tag in post.tags:
        shown = fold(tag)
        read = "".join(piece.word.reading for piece in pieces(shown)) if not shown.isascii() else ""
        found |= {(key, "tag", shown) for key in keys(shown, read)}
    for span in spans(post.title):
        if span.shown:
            found |= {(key, "word", span.shown) for key in keys(span.shown, span.reading)}
    return found


def keys(shown: str, reading: str) -> set[str]:
    """By what somebody may begin to type a word: itself, its reading, and that in Latin letters."""
    kana = hiragana(shown)
    spoken = {each for each in (kana, reading) if is_kana(each)}
    return {
        key[:MOST_KEY]
        for key in (kana, *spoken, *(IN_LATIN + romaji(each) for each in spoken))
        if key
    }


def store(db: Session, rows: Iterable[Row], gone: Iterable[int] = ()) -> None:
    """Replace rows, take others away, and count what they give to suggestions: in one order of keys, so that two writers never wait for each other."""
    new = {each.post_id: each for each in rows}
    ids = sorted({*new, *gone})
    counts: Counter[tuple[str, ...]] = Counter()
    known = db.execute(
        select(PostText.post_id, PostText.counted).where(PostText.post_id.in_(ids))
    ).all()
    for _, counted in known:
        counts.subtract(tuple(key) for key in counted)
    for table in (PostText, PostPlaces) if known else ():
        db.execute(
            delete(table).where(table.post_id.in_(ids)).execution_options(synchronize_session=False)
        )
    if new:
        db.execute(
            insert(PostText),
            [
                {"post_id": each.post_id, "words": each.words, "counted": each.counted}
                for each in new.values()
            ],
        )
        db.execute(
            insert(PostPlaces),
            [
                {"post_id": each.post_id, "title": each.title, "description": each.description}
                for each in new.values()
            ],
        )
        counts.update(tuple(key) for each in new.values() for key in each.counted)
    count(db, {key: change for key, change in counts.items() if change})


def count(db: Session, changes: dict[tuple[str, ...], int]) -> None:
    """Add to the suggestions' counts; what no post has any more is gone."""
    wanted = (sqlite.insert if db.connection().dialect.name == "sqlite" else postgresql.insert)(
        SearchWord.__table__  # type: ignore[arg-type]
    )
    ordered = sorted(changes)
    for part in (
        ordered[start : start + ROWS_AT_ONCE] for start in range(0, len(ordered), ROWS_AT_ONCE)
    ):
        db.execute(
            wanted.on_conflict_do_update(
                index_elements=["key", "kind", "word"],
                set_={"posts": SearchWord.posts + wanted.excluded.posts},
            ),
            [
                dict(zip(("key", "kind", "word", "posts"), (*key, changes[key]), strict=True))
                for key in part
            ],
        )
        fewer = [key[0] for key in part if changes[key] < 0]
        if fewer:
            db.execute(
                delete(SearchWord)
                .where(SearchWord.key.in_(fewer), SearchWord.posts <= 0)
                .execution_options(synchronize_session=False)
            )


def size(db: Session) -> int:
    """How many posts are in the index."""
    return int(db.scalar(select(func.count()).select_from(PostText)) or 0)
