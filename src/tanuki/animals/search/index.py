"""The index of published posts: its tables, and how posts enter and leave it.

`post_text` holds each post's tokens. On SQLite an FTS5 table indexes them, kept up to date by
triggers; on PostgreSQL they are a tsvector with a GIN index. Both get the same tokens, so neither
engine's own tokenizer matters. A token is stored once plainly, and again with a mark for the title,
and with another one for title, tags and category together: a query asks for relevance by asking for
marked tokens, without positions.
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
    Table,
    Text,
    TypeDecorator,
    delete,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.types import TypeEngine

from tanuki.animals.search.japanese import split_words
from tanuki.animals.search.kana import hiragana_to_romaji, is_kana, to_hiragana
from tanuki.animals.search.normalize import fold
from tanuki.animals.search.synonyms import concept_token, concept_tokens, join_as_token
from tanuki.animals.search.tokenize import tokenize, tokens_of_text
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS
from tanuki.platform.database.engine import Base
from tanuki.platform.database.upsert import insert_for

# Private letters that begin marked tokens. No text has them, as tokens are of letters, digits and
# their signs only.
IN_TITLE = "\ue001"
IN_NAMES = "\ue002"  # in the title, the tags, the category or the breed
ANYWHERE = ""
OF_CATEGORY, OF_BREED, TAGGED = "\ue003", "\ue004", "\ue005"  # for filters: chosen, not mentioned
LATIN_KEY_PREFIX = "ー"  # begins the romaji keys of suggestions
MAX_KEY_LENGTH = 60
ROWS_PER_STATEMENT = 1_000


class Tokens(TypeDecorator[list[str]]):
    """A set of tokens: a tsvector on PostgreSQL, otherwise a text with a space around each."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
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
    """The tokens of a published post, and the suggestions that count it: [key, kind, word]."""

    __tablename__ = "post_text"
    __table_args__ = (
        Index(
            "ix_post_text_tokens",
            "tokens",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
            info={"only": "postgresql"},
        ).ddl_if(dialect="postgresql"),
    )

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    tokens: Mapped[list[str]] = mapped_column(Tokens)
    suggestion_keys: Mapped[list[list[str]]] = mapped_column(JSON)


class PostTokenOffsets(Base):
    """The places of a published post's tokens, for highlights: [[start, end, "token token"], …].

    Tokenizing two dozen posts again would cost more than finding them.
    """

    __tablename__ = "post_token_offsets"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    title: Mapped[list[Any]] = mapped_column(JSON)
    description: Mapped[list[Any]] = mapped_column(JSON)


class SearchWord(Base):
    """A suggestion under each key that can begin it, with the number of posts that have it.

    Keys and words are sorted by code points on both engines (collation C on PostgreSQL).
    """

    __tablename__ = "search_word"

    key: Mapped[str] = mapped_column(
        String().with_variant(String(collation="C"), "postgresql"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(primary_key=True)  # word, tag, category or breed
    word: Mapped[str] = mapped_column(
        String().with_variant(String(collation="C"), "postgresql"), primary_key=True
    )  # as it is shown, or a code of the taxonomy
    posts: Mapped[int]


TokenOffset = tuple[int, int, str]


class IndexRow(NamedTuple):
    """A post as the index stores it."""

    post_id: int
    tokens: list[str]
    suggestion_keys: list[list[str]]
    title: list[TokenOffset]
    description: list[TokenOffset]


# ---- the engines' own objects --------------------------------------------------------------------

FTS5 = (
    # Tokens are separated by spaces only and are folded already; the tokenizer `ascii` leaves all
    # other letters as they are. No positions and no sizes, as nothing asks for phrases or scores.
    "create virtual table if not exists post_fts using fts5("
    "tokens, content='post_text', content_rowid='post_id', tokenize='ascii', detail='none',"
    " columnsize=0)",
    "create trigger if not exists post_text_put after insert on post_text begin"
    " insert into post_fts(rowid, tokens) values (new.post_id, new.tokens); end",
    "create trigger if not exists post_text_take after delete on post_text begin"
    " insert into post_fts(post_fts, rowid, tokens)"
    " values ('delete', old.post_id, old.tokens); end",
    "create trigger if not exists post_text_change after update of tokens on post_text begin"
    " insert into post_fts(post_fts, rowid, tokens) values ('delete', old.post_id, old.tokens);"
    " insert into post_fts(rowid, tokens) values (new.post_id, new.tokens); end",
)
TSVECTOR = (
    # Tokens stay in the row up to 8 KB and uncompressed, so reading a popular post's tokens is one
    # page and no work.
    "alter table post_text set (toast_tuple_target = 8160)",
    "alter table post_text alter column tokens set storage external",
    # Without the pending list, all of which every search would read.
    "create index if not exists ix_post_text_tokens on post_text using gin (tokens)"
    " with (fastupdate = off)",
)


def create_index_objects(connection: Connection) -> None:
    """Create what `post_text` needs besides the table, on this engine."""
    for statement in FTS5 if connection.dialect.name == "sqlite" else TSVECTOR:
        connection.exec_driver_sql(statement)


def drop_index_objects(connection: Connection) -> None:
    """Drop what `create_index_objects` created, before the table is dropped."""
    if connection.dialect.name == "sqlite":
        for statement in (
            "drop table if exists post_fts",
            *(f"drop trigger if exists post_text_{name}" for name in ("put", "take", "change")),
        ):
            connection.exec_driver_sql(statement)


@event.listens_for(PostText.__table__, "after_create")
def create_after_table(_table: Table, connection: Connection, **_: object) -> None:
    create_index_objects(connection)


# ---- entering and leaving ------------------------------------------------------------------------


def index_post(db: Session, post: Post) -> None:
    """Index a published post, or index it again. Searches find it from this commit on."""
    write_rows(db, [build_row(post)])


def unindex_post(db: Session, post_id: int) -> None:
    """Remove a post from the index."""
    write_rows(db, [], gone=[post_id])


def build_row(post: Post) -> IndexRow:
    """The tokens and suggestions of a post. Takes about a millisecond, without the database."""
    title = set(tokens_of_text(post.title))
    names = title.union(
        *(tokens_of_text(tag) for tag in post.tags),
        concept_tokens(post.category),
        concept_tokens(post.breed) if post.breed else (),
    )
    tokens = {
        *names,
        *tokens_of_text(post.description),
        *filter_tokens(post.category, post.breed, *post.tags),
        *(IN_NAMES + token for token in names),
        *(IN_TITLE + token for token in title),
    }
    return IndexRow(
        post.id,
        sorted(tokens),
        [list(key) for key in sorted(suggestion_entries(post))],
        token_offsets(post.title),
        token_offsets(post.description),
    )


def token_offsets(text: str) -> list[TokenOffset]:
    """The tokens of a text with their places."""
    return [(span.start, span.end, " ".join(span.tokens)) for span in tokenize(text)]


def filter_tokens(category: str | None, breed: str | None, *tags: str) -> list[str]:
    """The filter tokens of a category, a breed and tags."""
    folded = (fold("".join(filter(str.isprintable, tag)))[:MAX_KEY_LENGTH] for tag in tags)
    chosen = [(OF_CATEGORY, category), (OF_BREED, breed), *((TAGGED, tag) for tag in folded)]
    return [mark + join_as_token(text) for mark, text in chosen if text is not None]


def suggestion_entries(post: Post) -> set[tuple[str, str, str]]:
    """The suggestions (key, kind, word) that count a post: its category and breed, its tags, and
    the nouns and English words of its title."""
    entries = {(concept_token(post.category), "category", post.category)}
    if post.breed in BREEDS:
        entries.add((concept_token(post.breed), "breed", post.breed))
    for tag in map(fold, post.tags):
        words = split_words(tag) if not tag.isascii() else []
        reading = "".join(word.word.reading for word in words)
        entries |= {(key, "tag", tag) for key in prefix_keys(tag, reading)}
    for span in tokenize(post.title):
        if span.suggestion:
            keys = prefix_keys(span.suggestion, span.reading)
            entries |= {(key, "word", span.suggestion) for key in keys}
    return entries


def prefix_keys(word: str, reading: str) -> set[str]:
    """The keys that can begin a word: its surface, its reading, and both as romaji."""
    kana = to_hiragana(word)
    readings = {text for text in (kana, reading) if is_kana(text)}
    romaji = (LATIN_KEY_PREFIX + hiragana_to_romaji(text) for text in readings)
    return {key[:MAX_KEY_LENGTH] for key in (kana, *readings, *romaji) if key}


def write_rows(db: Session, rows: Iterable[IndexRow], gone: Iterable[int] = ()) -> None:
    """Replace the rows of some posts, remove those of others, and update the suggestions' counts.

    Keys are written in one order, so that two transactions never wait for each other.
    """
    new = {row.post_id: row for row in rows}
    ids = sorted({*new, *gone})
    counts: Counter[tuple[str, ...]] = Counter()
    old = db.execute(
        select(PostText.post_id, PostText.suggestion_keys).where(PostText.post_id.in_(ids))
    ).all()
    for _, keys in old:
        counts.subtract(tuple(key) for key in keys)
    for table in (PostText, PostTokenOffsets) if old else ():
        db.execute(
            delete(table).where(table.post_id.in_(ids)).execution_options(synchronize_session=False)
        )
    if new:
        texts = [
            {"post_id": row.post_id, "tokens": row.tokens, "suggestion_keys": row.suggestion_keys}
            for row in new.values()
        ]
        offsets = [
            {"post_id": row.post_id, "title": row.title, "description": row.description}
            for row in new.values()
        ]
        db.execute(insert(PostText), texts)
        db.execute(insert(PostTokenOffsets), offsets)
        counts.update(tuple(key) for row in new.values() for key in row.suggestion_keys)
    add_suggestion_counts(db, {key: change for key, change in counts.items() if change})


def add_suggestion_counts(db: Session, changes: dict[tuple[str, ...], int]) -> None:
    """Add to the suggestions' counts, and delete those that no post has any more."""
    new = insert_for(db, SearchWord)
    upsert = new.on_conflict_do_update(
        index_elements=["key", "kind", "word"],
        set_={"posts": SearchWord.posts + new.excluded.posts},
    )
    keys = sorted(changes)
    for start in range(0, len(keys), ROWS_PER_STATEMENT):
        part = keys[start : start + ROWS_PER_STATEMENT]
        rows = [
            {"key": key, "kind": kind, "word": word, "posts": changes[key, kind, word]}
            for key, kind, word in part
        ]
        db.execute(upsert, rows)
        decreased = [key[0] for key in part if changes[key] < 0]
        if decreased:
            db.execute(
                delete(SearchWord)
                .where(SearchWord.key.in_(decreased), SearchWord.posts <= 0)
                .execution_options(synchronize_session=False)
            )


def count_indexed_posts(db: Session) -> int:
    """The number of posts in the index."""
    return int(db.scalar(select(func.count()).select_from(PostText)) or 0)
