"""Leaving for good: nothing seen from the same second, nothing found afterwards, others' counts right, whatever is killed meanwhile."""

import re
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    String,
    cast,
    event,
    func,
    insert,
    inspect,
    literal_column,
    select,
    table,
    text,
)

from tanuki.animals import (
    account_deletion,
    engagement,
    feed,
    members,
    notifications,
    post_queries,
    post_states,
    posts,
)
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import Ruling
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import (
    Appeal,
    Block,
    Case,
    Comment,
    Decision,
    Follow,
    Like,
    Member,
    Notification,
    Photo,
    Post,
    Report,
)
from tanuki.errors import Conflict, NotFound, UserError
from tanuki.platform import accounts, audit_log, maintenance, sessions, tokens
from tanuki.platform import resources as resources_file
from tanuki.platform.accounts import Account
from tanuki.platform.jobs import run_worker
from tests.factories.http_clients import PASSWORD
from tests.factories.members_and_posts import NOW, make_member, make_photo, make_post, make_staff

NAME, DISPLAY = "zebulon", "Zebulon Quagga"
TITLES = ("Kumquat of the morning", "朝の金柑")
WORDS = (
    "Marmalade again",
    "xylophone",
    "Sasquatch",
    "tamarind",
    "opossum",
)  # description, tag, comment, report, appeal
TRACES = [NAME, DISPLAY, *TITLES, *WORDS, "kumquat", "quagga", "marmalade", "金柑", "sasquatch"]


@contextmanager
def working(res):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests"):
        yield


def do(res, what, *given, **more):
    with res.db.write() as db:
        return what(db, *given, **{"now": NOW, **more})


def read(res, what, *given, **more):
    with res.db.read() as db:
        return what(db, *given, **more)


def goes(res, who):
    do(res, account_deletion.delete_account, res.jobs, who, PASSWORD)


def finish(res, member_id):
    """Let a worker take everything away."""
    with working(res):
        assert (
            res.jobs.wait_for_run(account_deletion.deletion_run_id(member_id), seconds=60).status
            == "done"
        )


@pytest.fixture
def world(resources):
    """Zebulon, with a little of everything, among others."""
    zeb, ann, ben = (
        make_member(resources, NAME),
        make_member(resources, "ann"),
        make_member(resources, "ben"),
    )
    mod, other = make_staff(resources, "mod"), make_staff(resources, "other")
    with resources.db.write() as db:
        members.update_profile(
            db,
            zeb,
            members.ProfileChange(
                display=DISPLAY,
                about=WORDS[0],
                photo=photo_files.save_photo(db, resources.objects, make_photo(9), now=NOW),
            ),
            now=NOW,
        )
        sessions.sign_in(db, sessions.Credentials(NAME, PASSWORD, "1.2.3.4"), NOW)
        tokens.create_token(db, NAME, tokens.NewToken(WORDS[1]), NOW)
    mine = [
        make_post(resources, zeb, title=title, description=WORDS[0], tags=(WORDS[1],), seed=n)
        for n, title in enumerate(TITLES)
    ]
    mine += [
        make_post(resources, zeb, title=TITLES[0], state=state)
        for state in ("checking", "held", "removed", "deleted")
    ]
    theirs = make_post(resources, ann, title="Stays", seed=1)  # with the same picture as one of his
    for who in (zeb, ben):
        do(resources, engagement.like_post, who, theirs.id)
        do(
            resources,
            engagement.add_comment,
            who,
            theirs.id,
            WORDS[2] if who == zeb else "Hello",
            key="k",
        )
    do(resources, engagement.like_post, ann, mine[0].id)
    do(resources, engagement.add_comment, ann, mine[0].id, "Hi", key="k")
    for one, another in ((zeb, "ann"), (ann, NAME), (ben, NAME), (ben, "ann")):
        do(resources, engagement.follow_member, one, another)
    do(resources, members.block_member, ben, NAME, "mute")
    do(resources, cases.report_subject, zeb, SubjectRef("post", theirs.id), "spam", WORDS[3])
    do(
        resources,
        cases.report_subject,
        ann,
        SubjectRef("post", mine[1].id),
        "spam",
        f"by {DISPLAY}",
    )
    with resources.db.write() as db:
        posts.edit_post(
            db,
            resources.jobs,
            zeb,
            posts.PostVersion(mine[0].id, 1),
            posts.Draft(TITLES[1], category="cat"),
            now=NOW,
        )
    made = do(
        resources,
        decisions.decide_subject,
        mod,
        SubjectRef("member", read(resources, lambda db: members.require_member(db, zeb).id)),
        Ruling("warn", "spam", f"Dear {DISPLAY}"),
    )
    held = do(
        resources,
        decisions.decide_subject,
        mod,
        SubjectRef("post", mine[1].id),
        Ruling("hold", "spam", f"Dear {DISPLAY}"),
    )
    do(resources, appeals.submit_appeal, zeb, made.id, WORDS[4])
    asked = do(resources, appeals.submit_appeal, zeb, held.id, WORDS[4])
    do(resources, appeals.answer_appeal, other, asked.id, overturn=False, text=f"No, {DISPLAY}")
    return resources, zeb, ann, ben, mine, theirs


def grown(res):
    """Every text in every table, with DBOS's own: (table, column, text)."""
    found = []
    with res.db.read() as db:
        there = inspect(db.connection())
        for schema in (None, *(["dbos"] if "dbos" in there.get_schema_names() else [])):
            for name in there.get_table_names(schema=schema):
                if name.startswith("post_fts"):
                    continue  # FTS5's own tables: what they hold is asked for by searching
                columns = [column["name"] for column in there.get_columns(name, schema=schema)]
                for column in columns:
                    asked = select(cast(literal_column(f'"{column}"'), String)).select_from(
                        table(name, schema=schema)
                    )
                    found += [(name, column, value) for value in db.scalars(asked) if value]
    return found


def traces(res):
    """Where something of his is still found."""
    pattern = re.compile("|".join(map(re.escape, TRACES)), re.IGNORECASE)
    rows = [(name, column) for name, column, value in grown(res) if pattern.search(value)]
    files = [
        key
        for key in res.objects.list_keys()
        if pattern.search(res.objects.get(key).decode("utf-8", "replace")) or pattern.search(key)
    ]
    return rows, files


def test_nothing_of_who_left_is_found_anywhere(world):
    res, zeb, _, _, mine, theirs = world
    maintenance.export_events_now(res, NOW)
    member_id, pseudonym = (
        mine[0].member_id,
        read(res, lambda db: members.require_member(db, zeb).pseudonym),
    )
    assert len({name for name, _ in traces(res)[0]}) > 10  # that it would be noticed
    goes(res, zeb)
    finish(res, member_id)
    assert traces(res) == ([], [])
    assert [value for _, _, value in grown(res) if value == pseudonym] == []
    for words in TRACES:
        assert read(res, search_posts, words).posts == []
    digests = {make_photo(9).digest, *(each.photo for each in mine)} - {theirs.photo}
    assert [
        key for key in res.objects.list_keys() if any(digest in key for digest in digests)
    ] == []
    assert theirs.photo == mine[1].photo
    assert res.objects.exists(photo_files.object_key(theirs.photo, "full"))
    assert read(res, lambda db: set(db.scalars(select(Photo.digest)))) == {theirs.photo}


def test_what_others_have_is_as_if_he_had_never_been(world):
    res, zeb, ann, ben, mine, theirs = world
    goes(res, zeb)
    finish(res, mine[0].member_id)
    with res.db.read() as db:
        kept = db.get(Post, theirs.id)
        assert (kept.likes, kept.comments, kept.hot_score) == (
            1,
            1,
            pytest.approx(post_states.hot_score(kept.published_at, 1)),
        )
        one, other = members.require_member(db, ann), members.require_member(db, ben)
        assert (one.followers, one.following, other.followers, other.following) == (1, 0, 0, 1)
        counts = {
            kind: db.scalar(select(func.count()).select_from(kind))
            for kind in (Post, Like, Comment, Follow, Block, Member)
        }
        assert counts == {Post: 1, Like: 1, Comment: 1, Follow: 1, Block: 0, Member: 2}
        assert {row.kind for row in db.scalars(select(Notification))} == {
            "like",
            "comment",
            "follow",
        }
        assert members.list_blocks(db, ben) == []


def test_reports_and_decisions_stay_without_him(world):
    res, zeb, _, _, mine, _ = world
    before = read(
        res,
        lambda db: [
            db.scalar(select(func.count()).select_from(kind))
            for kind in (Case, Report, Decision, Appeal)
        ],
    )
    goes(res, zeb)
    finish(res, mine[0].member_id)
    with res.db.read() as db:
        assert [
            db.scalar(select(func.count()).select_from(kind))
            for kind in (Case, Report, Decision, Appeal)
        ] == before
        assert set(db.scalars(select(Appeal.member_id))) == {None}
        assert {(row.text, row.answer) for row in db.scalars(select(Appeal))} == {("", None)}
        assert db.scalars(select(Report.reporter_id).order_by(Report.id)).first() is None
        gone = db.scalars(select(Case).where(Case.member_id.is_(None))).all()
        assert {(row.state, row.subject_id < 0) for row in gone} == {("decided", True)}
        assert audit_log.find_broken_entry(db) is None
    moderator = accounts.Person("mod", "Mod", frozenset({("moderator", None)}))
    assert len(read(res, cases.list_open_cases, moderator).items) == 1  # what he reported
    for case in gone:
        assert read(res, cases.load_case, moderator, case.id).id == case.id
    assert [read(res, decisions.possible_actions, case) for case in gone] == [["keep"]] * len(gone)
    assert len(read(res, decisions.list_decisions, moderator).items) == before[2]
    assert read(res, appeals.list_open_appeals, moderator).items == []


def test_from_the_same_second_he_is_not_there(world):
    res, zeb, ann, _, mine, theirs = world
    session = do(res, sessions.sign_in, sessions.Credentials(NAME, PASSWORD, "1.2.3.4"))
    goes(res, zeb)
    shown = (mine[0], mine[1])
    with res.db.read() as db:
        assert sessions.find_session_person(db, session, NOW) is None
        for viewer in (ann, None):
            for look in (
                members.load_profile,
                engagement.list_followers,
                post_queries.list_member_posts,
            ):
                with pytest.raises(NotFound):
                    look(db, viewer, NAME)
            for each in shown:
                with pytest.raises(NotFound):
                    post_queries.load_visible_post(db, each.id, viewer)
                with pytest.raises(NotFound):
                    post_queries.load_visible_photo(db, viewer, mine[0].photo)
            assert post_queries.load_listed_posts(db, viewer, [each.id for each in shown]) == []
            assert [item.id for item in post_queries.list_newest_posts(db, viewer).items] == [
                theirs.id
            ]
            assert [
                item.post_id
                for item in feed.load_home_feed(
                    db, viewer, now=NOW + timedelta(hours=1), request_id="r"
                ).items
            ] == [theirs.id]
            assert [item.name for item in engagement.list_likers(db, viewer, theirs.id).items] == [
                "ben"
            ]
            assert [
                item.member.name for item in engagement.list_comments(db, viewer, theirs.id).items
            ] == ["ben"]
            assert [item.name for item in engagement.list_followers(db, viewer, "ann").items] == [
                "ben"
            ]
            assert [item.name for item in engagement.list_following(db, viewer, "ben").items] == [
                "ann"
            ]
            hidden = members.load_hidden_member_ids(db, members.find_viewer_id(db, viewer))
            assert search_posts(db, TITLES[1], hidden=hidden).posts == []
        assert {
            item.actor.name
            for item in notifications.list_notifications(db, ann).items
            if item.actor
        } == {"ben"}
    with res.db.write() as db, pytest.raises(NotFound):
        posts.create_post(
            db, res, zeb, posts.NewPost(posts.Draft("Again"), make_photo(5), "late"), now=NOW
        )
    with res.db.write() as db:
        assert sessions.sign_in(db, sessions.Credentials(NAME, PASSWORD, "1.2.3.4"), NOW) is None


def test_the_name_is_not_given_again_and_the_member_neither(world):
    res, zeb, _, _, mine, _ = world
    goes(res, zeb)
    for _ in range(2):
        with pytest.raises(Conflict):
            credentials = sessions.Credentials(NAME, "four words of mine", "1.2.3.4")
            do(res, sessions.sign_up, credentials, display_name="Z")
        finish(res, mine[0].member_id)
    assert read(res, lambda db: db.get(Account, NAME)) is None
    assert (
        read(res, lambda db: members.require_member(db, make_member(res, "zoe")).id)
        > mine[0].member_id
    )


def test_it_needs_the_password(resources):
    res, zeb = resources, make_member(resources, NAME)
    for password in ("", "wrong", PASSWORD + "x"):
        with pytest.raises(UserError, match="password"):
            do(res, account_deletion.delete_account, res.jobs, zeb, password)
    assert read(res, members.require_member, zeb).left_at is None
    assert res.jobs.list_runs(name=account_deletion.ACCOUNT_DELETION) == []


def test_who_left_cannot_leave_again_and_staff_has_nothing_here_to_leave(resources):
    res, zeb = resources, make_member(resources, NAME)
    goes(res, zeb)
    for who in (zeb, make_staff(res, "boss", "operator")):
        with pytest.raises(NotFound):
            goes(res, who)


def test_the_last_administrator_stays(resources):
    boss = make_member(resources, "boss", roles=("member", "admin"))
    with pytest.raises(Conflict, match="last administrator"):
        goes(resources, boss)
    make_member(resources, "second", roles=("admin",))
    goes(resources, boss)
    finish(resources, 1)


def test_what_he_was_just_doing_when_he_left_is_gone_too(world):
    """A like that was on its way when the run had taken his likes away already."""
    res, zeb, _, _, mine, theirs = world
    goes(res, zeb)
    member_id = mine[0].member_id
    account_deletion.erase_likes(res, NOW, member_id)
    with res.db.write() as db:
        db.add(Like(post_id=theirs.id, member_id=member_id, at=NOW))
        db.get(Post, theirs.id).likes += 1
    account_deletion.erase_name(res, NOW, member_id)
    assert traces(res) == ([], [])
    assert read(res, lambda db: db.get(Post, theirs.id).likes) == 1
    finish(res, member_id)


CHILD = """
import sys
sys.path.insert(0, {here!r})
import tanuki.app.metadata
from pathlib import Path
from tanuki.app import bootstrap
from tanuki.animals import account_deletion
from tanuki.platform import resources as resources_file
from tanuki.platform.jobs import run_worker
from tanuki.settings import Settings
import time
account_deletion.ROWS_PER_TRANSACTION = account_deletion.POSTS_PER_TRANSACTION = 1
res = bootstrap.create_resources(Settings.model_validate({{"home": Path(sys.argv[1]), "database": sys.argv[2]}}), upgrade=False)
resources_file.set_process_resources(res)
with run_worker(res.db, "child"):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_a_kill_in_the_middle_changes_nothing_of_what_is_left_at_the_end(world):
    res, zeb, _, ben, mine, theirs = world
    for number in range(10):
        do(res, engagement.like_post, zeb, make_post(res, ben, title=f"Ben {number}").id)
    goes(res, zeb)
    before = read(res, remaining)
    for _ in range(2):
        here = str(Path(__file__).parents[2])
        code = CHILD.format(here=here)
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(res.settings.home), res.db.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        end, was = time.monotonic() + 10, read(res, remaining)
        while read(res, remaining) == was and time.monotonic() < end:
            time.sleep(0.02)
        child.kill()
        child.wait()
        child.stdout.close()
    assert read(res, remaining) < before
    finish(res, mine[0].member_id)
    assert traces(res) == ([], [])
    with res.db.read() as db:
        assert {each.likes for each in db.scalars(select(Post).where(Post.id != theirs.id))} == {0}
        assert db.get(Post, theirs.id).likes == 1


def remaining(db):
    """How many rows are his or about him."""
    return sum(
        db.scalar(select(func.count()).select_from(kind)) or 0
        for kind in (Like, Comment, Follow, Block, Notification, Post, Member)
    )


def test_a_run_that_gave_up_goes_on(world, monkeypatch):
    monkeypatch.setattr(account_deletion, "RESUME_FAILED_AFTER", timedelta(0))
    res, zeb, _, _, mine, _ = world
    goes(res, zeb)
    run = account_deletion.deletion_run_id(mine[0].member_id)
    with res.db.write() as db:
        db.execute(text("alter table follow rename to elsewhere"))
    with working(res):
        assert res.jobs.wait_for_run(run, seconds=60).status == "failed"
        with res.db.write() as db:
            db.execute(text("alter table elsewhere rename to follow"))
        account_deletion.resume_failed_deletions()
        assert res.jobs.wait_for_run(run, seconds=60).status == "done"
        account_deletion.resume_failed_deletions()
    assert traces(res) == ([], [])


def test_thousands_of_posts_hold_nobody_up_because_each_transaction_does_a_little(embedded):
    """bench/animals_account_deletion.py measures how long others wait, with 5,000 posts."""
    zeb, ann = make_member(embedded, NAME), make_member(embedded, "ann")
    photo = make_post(embedded, zeb)
    other = make_post(embedded, ann)
    with embedded.db.write() as db:
        row = {
            name: getattr(photo, name)
            for name in ("photo", "title", "category", "posted_at", "published_at", "state")
        }
        shared = {**row, "description": "", "tags": []}
        db.execute(
            insert(Post),
            [{**shared, "member_id": photo.member_id, "key": f"k{n}"} for n in range(100)],
        )
        db.execute(
            insert(Post),
            [
                {**shared, "member_id": other.member_id, "key": f"k{n}", "likes": 1}
                for n in range(600)
            ],
        )
        theirs = db.scalars(
            select(Post.id).where(Post.member_id == other.member_id, Post.likes == 1)
        ).all()
        mine = db.scalars(select(Post.id).where(Post.member_id == photo.member_id)).all()
        db.execute(
            insert(Like),
            [{"post_id": its, "member_id": photo.member_id, "at": NOW} for its in theirs],
        )
        db.execute(
            insert(Like),
            [{"post_id": each, "member_id": other.member_id, "at": NOW} for each in mine],
        )
    goes(embedded, zeb)
    changed = [0]
    event.listen(embedded.db.engine, "begin", lambda _: changed.append(0))
    event.listen(
        embedded.db.engine,
        "after_cursor_execute",
        lambda _, cursor, *more: changed.append(changed.pop() + max(0, cursor.rowcount)),
    )
    finish(embedded, photo.member_id)
    assert (
        account_deletion.ROWS_PER_TRANSACTION
        <= max(changed)
        <= 3 * account_deletion.ROWS_PER_TRANSACTION
    ), max(changed)
    with embedded.db.read() as db:
        assert db.scalar(select(func.max(Post.likes))) == 0
        assert db.scalar(select(func.count()).select_from(Post)) == 601
