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
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapped, Session, mapped_column

from tanuki.animals.search.japanese import split_words
from tanuki.animals.search.kana import hiragana_to_romaji, is_kana, to_hiragana
from tanuki.animals.search.normalize import fold
from tanuki.animals.search.synonyms import concept_token, concept_tokens, join_as_token
from tanuki.animals.search.tokenize import tokenize, tokens_of_text
from tanuki.animals.tables import Post
from tanuki.animals.taxonomy import BREEDS
from tanuki.platform.database.engine import Base
from tanuki.platform.database.upsert import insert_for

# Private letters that begin marked tokens; no text holds them, since only letters, digits and their signs become tokens.
IN_TITLE, IN_NAMES, ANYWHERE = (
    "\ue001",
    "\ue002",
    "",
)  # in the title; in the title, the tags, the category or the breed; wherever
OF_CATEGORY, OF_BREED, TAGGED = (
    "\ue003",
    "\ue004",
    "\ue005",
)  # for filters: chosen, not only mentioned
LATIN_KEY_PREFIX = "ー"  # begins a suggestion's key in Latin letters
MAX_KEY_LENGTH = 60  # letters
ROWS_PER_STATEMENT = 1_000


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
            "ix_post_text_tokens",
            "tokens",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
            info={"only": "postgresql"},
        ).ddl_if(dialect="postgresql"),
    )

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id"), primary_key=True)
    tokens: Mapped[list[str]] = mapped_column(Tokens)
    suggestion_keys: Mapped[list[list[str]]] = mapped_column(
        JSON
    )  # [key, kind, word] of each row in search_word that counts this post


class PostTokenOffsets(Base):
    """Where in a published post its tokens stand, for highlights: cutting two dozen posts into words again would cost more than finding them. [[start, end, "token token"], …]"""

    __tablename__ = "post_token_offsets"

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


TokenOffset = tuple[int, int, str]


class IndexRow(NamedTuple):
    """A post as the index keeps it."""

    post_id: int
    tokens: list[str]
    suggestion_keys: list[list[str]]
    title: list[TokenOffset]
    description: list[TokenOffset]


# ---- the engines' own ----------------------------------------------------------------------------------------------

FTS5 = (
    # Our tokens part at spaces only and are folded already; the tokeniser `ascii` leaves every other letter as it is. No places, no sizes: nothing asks for phrases or scores.
    "create virtual table if not exists post_fts using fts5(tokens, content='post_text', content_rowid='post_id', tokenize='ascii', detail='none', columnsize=0)",
    "create trigger if not exists post_text_put after insert on post_text begin insert into post_fts(rowid, tokens) values (new.post_id, new.tokens); end",
    "create trigger if not exists post_text_take after delete on post_text begin insert into post_fts(post_fts, rowid, tokens) values ('delete', old.post_id, old.tokens); end",
    "create trigger if not exists post_text_change after update of tokens on post_text begin"
    " insert into post_fts(post_fts, rowid, tokens) values ('delete', old.post_id, old.tokens); insert into post_fts(rowid, tokens) values (new.post_id, new.tokens); end",
)
TSVECTOR = (
    # A row's tokens stay in the row up to 8 KB and are never packed: reading a popular post's tokens is then one page and no work.
    "alter table post_text set (toast_tuple_target = 8160)",
    "alter table post_text alter column tokens set storage external",
    # Without the pending list: a search would read all of it.
    "create index if not exists ix_post_text_tokens on post_text using gin (tokens) with (fastupdate = off)",
)


def create_index_objects(connection: Connection) -> None:
    """What `post_text` needs beside the table itself, on this engine; for the migration, and after create_all."""
    for statement in FTS5 if connection.dialect.name == "sqlite" else TSVECTOR:
        connection.exec_driver_sql(statement)


def drop_index_objects(connection: Connection) -> None:
    """Take away what `create` made, before the table goes."""
    if connection.dialect.name == "sqlite":
        for statement in (
            "drop table if exists post_fts",
            *(f"drop trigger if exists post_text_{name}" for name in ("put", "take", "change")),
        ):
            connection.exec_driver_sql(statement)


@event.listens_for(PostText.__table__, "after_create")
def create_after_table(_table: Any, connection: Connection, **_: Any) -> None:
    create_index_objects(connection)


# ---- in and out ----------------------------------------------------------------------------------------------------


def index_post(db: Session, post: Post) -> None:
    """A published post can be found from the moment the transaction is committed; one that is there already is found by its new words."""
    write_rows(db, [build_row(post)])


def unindex_post(db: Session, post_id: int) -> None:
    """A post is found no more."""
    write_rows(db, [], gone=[post_id])


def build_row(post: Post) -> IndexRow:
    """A post's tokens and what it gives to suggestions; takes about a millisecond and needs no database."""
    title = set(tokens_of_text(post.title))
    named = title.union(
        *(tokens_of_text(tag) for tag in post.tags),
        concept_tokens(post.category),
        concept_tokens(post.breed) if post.breed else (),
    )
    filters = filter_tokens(post.category, post.breed, *post.tags)
    words = {
        *named,
        *tokens_of_text(post.description),
        *filters,
        *(IN_NAMES + token for token in named),
        *(IN_TITLE + token for token in title),
    }
    return IndexRow(
        post.id,
        sorted(words),
        [list(key) for key in sorted(suggestion_entries(post))],
        token_offsets(post.title),
        token_offsets(post.description),
    )


def token_offsets(text: str) -> list[TokenOffset]:
    """Where a text's tokens stand in it."""
    return [(span.start, span.end, " ".join(span.tokens)) for span in tokenize(text)]


def filter_tokens(category: str | None, breed: str | None, *tags: str) -> list[str]:
    """The tokens of a post for what was chosen when it was written; a tag as tags are compared."""
    folded = (fold("".join(filter(str.isprintable, tag)))[:MAX_KEY_LENGTH] for tag in tags)
    chosen = [(OF_CATEGORY, category), (OF_BREED, breed), *((TAGGED, tag) for tag in folded)]
    return [mark + join_as_token(text) for mark, text in chosen if text is not None]


def suggestion_entries(post: Post) -> set[tuple[str, str, str]]:
    """Keys, kinds and words by which a post counts in suggestions: its category and breed, its tags, and the title's nouns and English words."""
    found = {(concept_token(post.category), "category", post.category)}
    if post.breed in BREEDS:
        found.add((concept_token(post.breed), "breed", post.breed))
    for tag in post.tags:
        shown = fold(tag)
        read = (
            "".join(piece.word.reading for piece in split_words(shown))
            if not shown.isascii()
            else ""
        )
        found |= {(key, "tag", shown) for key in prefix_keys(shown, read)}
    for span in tokenize(post.title):
        if span.suggestion:
            found |= {
                (key, "word", span.suggestion) for key in prefix_keys(span.suggestion, span.reading)
            }
    return found


def prefix_keys(shown: str, reading: str) -> set[str]:
    """By what somebody may begin to type a word: itself, its reading, and that in Latin letters."""
    kana = to_hiragana(shown)
    spoken = {each for each in (kana, reading) if is_kana(each)}
    return {
        key[:MAX_KEY_LENGTH]
        for key in (
            kana,
            *spoken,
            *(LATIN_KEY_PREFIX + hiragana_to_romaji(each) for each in spoken),
        )
        if key
    }


def write_rows(db: Session, rows: Iterable[IndexRow], gone: Iterable[int] = ()) -> None:
    """Replace rows, take others away, and count what they give to suggestions: in one order of keys, so that two writers never wait for each other."""
    new = {each.post_id: each for each in rows}
    ids = sorted({*new, *gone})
    counts: Counter[tuple[str, ...]] = Counter()
    known = db.execute(
        select(PostText.post_id, PostText.suggestion_keys).where(PostText.post_id.in_(ids))
    ).all()
    for _, counted in known:
        counts.subtract(tuple(key) for key in counted)
    for table in (PostText, PostTokenOffsets) if known else ():
        db.execute(
            delete(table).where(table.post_id.in_(ids)).execution_options(synchronize_session=False)
        )
    if new:
        db.execute(
            insert(PostText),
            [
                {
                    "post_id": each.post_id,
                    "tokens": each.tokens,
                    "suggestion_keys": each.suggestion_keys,
                }
                for each in new.values()
            ],
        )
        db.execute(
            insert(PostTokenOffsets),
            [
                {"post_id": each.post_id, "title": each.title, "description": each.description}
                for each in new.values()
            ],
        )
        counts.update(tuple(key) for each in new.values() for key in each.suggestion_keys)
    add_suggestion_counts(db, {key: change for key, change in counts.items() if change})


def add_suggestion_counts(db: Session, changes: dict[tuple[str, ...], int]) -> None:
    """Add to the suggestions' counts; what no post has any more is gone."""
    statement = insert_for(db, SearchWord)
    ordered = sorted(changes)
    for part in (
        ordered[start : start + ROWS_PER_STATEMENT]
        for start in range(0, len(ordered), ROWS_PER_STATEMENT)
    ):
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["key", "kind", "word"],
                set_={"posts": SearchWord.posts + statement.excluded.posts},
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


def count_indexed_posts(db: Session) -> int:
    """How many posts are in the index."""
    return int(db.scalar(select(func.count()).select_from(PostText)) or 0)
