"""Account deletion: hidden at once, no personal data left, correct counts, resumed after a kill."""

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
from tanuki.animals.search.search import SearchOptions, search_posts
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
TEXTS = (
    "Marmalade again",
    "xylophone",
    "Sasquatch",
    "tamarind",
    "opossum",
)  # description, tag, comment, report, appeal
TRACES = [NAME, DISPLAY, *TITLES, *TEXTS, "kumquat", "quagga", "marmalade", "金柑", "sasquatch"]


@contextmanager
def run_test_worker(res):
    resources_file.set_process_resources(res)
    with run_worker(res.db, "tests"):
        yield


def write(res, function, *args, **options):
    with res.db.write() as db:
        return function(db, *args, **{"now": NOW, **options})


def read(res, function, *args, **options):
    with res.db.read() as db:
        return function(db, *args, **options)


def delete_account(res, person):
    write(res, account_deletion.delete_account, res.jobs, person, PASSWORD)


def finish_deletion(res, member_id):
    """Run the deletion job to its end."""
    with run_test_worker(res):
        assert (
            res.jobs.wait_for_run(account_deletion.deletion_run_id(member_id), seconds=60).status
            == "done"
        )


@pytest.fixture
def populated(resources):
    """A member with posts, likes, comments, follows, reports and appeals, among other members."""
    zeb, ann, ben = (
        make_member(resources, NAME),
        make_member(resources, "ann"),
        make_member(resources, "ben"),
    )
    mod, second_moderator = make_staff(resources, "mod"), make_staff(resources, "other")
    with resources.db.write() as db:
        members.update_profile(
            db,
            zeb,
            members.ProfileChange(
                display=DISPLAY,
                about=TEXTS[0],
                photo=photo_files.save_photo(db, resources.objects, make_photo(9), now=NOW),
            ),
            now=NOW,
        )
        sessions.sign_in(db, sessions.Credentials(NAME, PASSWORD, "1.2.3.4"), NOW)
        tokens.create_token(db, NAME, tokens.NewToken(TEXTS[1]), NOW)
    own_posts = [
        make_post(resources, zeb, title=title, description=TEXTS[0], tags=(TEXTS[1],), seed=n)
        for n, title in enumerate(TITLES)
    ]
    own_posts += [
        make_post(resources, zeb, title=TITLES[0], state=state)
        for state in ("checking", "held", "removed", "deleted")
    ]
    other_post = make_post(resources, ann, title="Stays", seed=1)  # same photo as one of zeb's
    for person in (zeb, ben):
        write(resources, engagement.like_post, person, other_post.id)
        write(
            resources,
            engagement.add_comment,
            person,
            other_post.id,
            TEXTS[2] if person == zeb else "Hello",
            key="k",
        )
    write(resources, engagement.like_post, ann, own_posts[0].id)
    write(resources, engagement.add_comment, ann, own_posts[0].id, "Hi", key="k")
    for follower, followed_name in ((zeb, "ann"), (ann, NAME), (ben, NAME), (ben, "ann")):
        write(resources, engagement.follow_member, follower, followed_name)
    write(resources, members.block_member, ben, NAME, "mute")
    write(resources, cases.report_subject, zeb, SubjectRef("post", other_post.id), "spam", TEXTS[3])
    write(
        resources,
        cases.report_subject,
        ann,
        SubjectRef("post", own_posts[1].id),
        "spam",
        f"by {DISPLAY}",
    )
    with resources.db.write() as db:
        posts.edit_post(
            db,
            resources.jobs,
            zeb,
            posts.PostVersion(own_posts[0].id, 1),
            posts.Draft(TITLES[1], category="cat"),
            now=NOW,
        )
    warning = write(
        resources,
        decisions.decide_subject,
        mod,
        SubjectRef("member", read(resources, lambda db: members.require_member(db, zeb).id)),
        Ruling("warn", "spam", f"Dear {DISPLAY}"),
    )
    hold_decision = write(
        resources,
        decisions.decide_subject,
        mod,
        SubjectRef("post", own_posts[1].id),
        Ruling("hold", "spam", f"Dear {DISPLAY}"),
    )
    write(resources, appeals.submit_appeal, zeb, warning.id, TEXTS[4])
    answered_appeal = write(resources, appeals.submit_appeal, zeb, hold_decision.id, TEXTS[4])
    write(
        resources,
        appeals.answer_appeal,
        second_moderator,
        answered_appeal.id,
        overturn=False,
        text=f"No, {DISPLAY}",
    )
    return resources, zeb, ann, ben, own_posts, other_post


def load_all_texts(res):
    """(table, column, text) of every text in every table, DBOS's tables included."""
    texts = []
    with res.db.read() as db:
        inspector = inspect(db.connection())
        for schema in (None, *(["dbos"] if "dbos" in inspector.get_schema_names() else [])):
            for name in inspector.get_table_names(schema=schema):
                if name.startswith("post_fts"):
                    continue  # FTS5's own tables: searches test their content
                columns = [column["name"] for column in inspector.get_columns(name, schema=schema)]
                for column in columns:
                    query = select(cast(literal_column(f'"{column}"'), String)).select_from(
                        table(name, schema=schema)
                    )
                    texts += [(name, column, value) for value in db.scalars(query) if value]
    return texts


def find_traces(res):
    """The table columns and files in which a text of the member is found."""
    pattern = re.compile("|".join(map(re.escape, TRACES)), re.IGNORECASE)
    rows = [(name, column) for name, column, value in load_all_texts(res) if pattern.search(value)]
    files = [
        key
        for key in res.objects.list_keys()
        if pattern.search(res.objects.get(key).decode("utf-8", "replace")) or pattern.search(key)
    ]
    return rows, files


def test_no_table_file_or_search_contains_data_of_a_deleted_account(populated):
    res, zeb, _, _, own_posts, other_post = populated
    maintenance.export_events_now(res, NOW)
    member_id, pseudonym = (
        own_posts[0].member_id,
        read(res, lambda db: members.require_member(db, zeb).pseudonym),
    )
    assert len({name for name, _ in find_traces(res)[0]}) > 10  # so that the check below can fail
    delete_account(res, zeb)
    finish_deletion(res, member_id)
    assert find_traces(res) == ([], [])
    assert [value for _, _, value in load_all_texts(res) if value == pseudonym] == []
    for trace in TRACES:
        assert read(res, search_posts, trace).posts == []
    digests = {make_photo(9).digest, *(post.photo for post in own_posts)} - {other_post.photo}
    assert [
        key for key in res.objects.list_keys() if any(digest in key for digest in digests)
    ] == []
    assert other_post.photo == own_posts[1].photo
    assert res.objects.exists(photo_files.object_key(other_post.photo, "full"))
    assert read(res, lambda db: set(db.scalars(select(Photo.digest)))) == {other_post.photo}


def test_counts_of_other_members_are_corrected(populated):
    res, zeb, ann, ben, own_posts, other_post = populated
    delete_account(res, zeb)
    finish_deletion(res, own_posts[0].member_id)
    with res.db.read() as db:
        post = db.get(Post, other_post.id)
        assert (post.likes, post.comments, post.hot_score) == (
            1,
            1,
            pytest.approx(post_states.hot_score(post.published_at, 1)),
        )
        ann_row, ben_row = members.require_member(db, ann), members.require_member(db, ben)
        assert (ann_row.followers, ann_row.following, ben_row.followers, ben_row.following) == (
            1,
            0,
            0,
            1,
        )
        counts = {
            table_class: db.scalar(select(func.count()).select_from(table_class))
            for table_class in (Post, Like, Comment, Follow, Block, Member)
        }
        assert counts == {Post: 1, Like: 1, Comment: 1, Follow: 1, Block: 0, Member: 2}
        assert {row.kind for row in db.scalars(select(Notification))} == {
            "like",
            "comment",
            "follow",
        }
        assert members.list_blocks(db, ben) == []


def test_reports_and_decisions_remain_without_personal_data(populated):
    res, zeb, _, _, own_posts, _ = populated
    counts_before = read(
        res,
        lambda db: [
            db.scalar(select(func.count()).select_from(table_class))
            for table_class in (Case, Report, Decision, Appeal)
        ],
    )
    delete_account(res, zeb)
    finish_deletion(res, own_posts[0].member_id)
    with res.db.read() as db:
        assert [
            db.scalar(select(func.count()).select_from(table_class))
            for table_class in (Case, Report, Decision, Appeal)
        ] == counts_before
        assert set(db.scalars(select(Appeal.member_id))) == {None}
        assert {(row.text, row.answer) for row in db.scalars(select(Appeal))} == {("", None)}
        assert db.scalars(select(Report.reporter_id).order_by(Report.id)).first() is None
        anonymous_cases = db.scalars(select(Case).where(Case.member_id.is_(None))).all()
        assert {(row.state, row.subject_id < 0) for row in anonymous_cases} == {("decided", True)}
        assert audit_log.find_broken_entry(db) is None
    moderator = accounts.Person("mod", "Mod", frozenset({("moderator", None)}))
    assert len(read(res, cases.list_open_cases, moderator).items) == 1  # the one he reported
    for case in anonymous_cases:
        assert read(res, cases.load_case, moderator, case.id).id == case.id
    assert [read(res, decisions.possible_actions, case) for case in anonymous_cases] == [
        ["keep"]
    ] * len(anonymous_cases)
    assert len(read(res, decisions.list_decisions, moderator).items) == counts_before[2]
    assert read(res, appeals.list_open_appeals, moderator).items == []


def test_the_member_is_hidden_immediately(populated):
    res, zeb, ann, _, own_posts, other_post = populated
    session = write(res, sessions.sign_in, sessions.Credentials(NAME, PASSWORD, "1.2.3.4"))
    delete_account(res, zeb)
    published_posts = (own_posts[0], own_posts[1])
    with res.db.read() as db:
        assert sessions.find_session_person(db, session, NOW) is None
        for viewer in (ann, None):
            for load in (
                members.load_profile,
                engagement.list_followers,
                post_queries.list_member_posts,
            ):
                with pytest.raises(NotFound):
                    load(db, viewer, NAME)
            for post in published_posts:
                with pytest.raises(NotFound):
                    post_queries.load_visible_post(db, post.id, viewer)
                with pytest.raises(NotFound):
                    post_queries.load_visible_photo(db, viewer, own_posts[0].photo)
            assert (
                post_queries.load_listed_posts(db, viewer, [post.id for post in published_posts])
                == []
            )
            assert [item.id for item in post_queries.list_newest_posts(db, viewer).items] == [
                other_post.id
            ]
            assert [
                item.post_id
                for item in feed.load_home_feed(
                    db, viewer, now=NOW + timedelta(hours=1), request_id="r"
                ).items
            ] == [other_post.id]
            assert [
                item.name for item in engagement.list_likers(db, viewer, other_post.id).items
            ] == ["ben"]
            assert [
                item.member.name
                for item in engagement.list_comments(db, viewer, other_post.id).items
            ] == ["ben"]
            assert [item.name for item in engagement.list_followers(db, viewer, "ann").items] == [
                "ben"
            ]
            assert [item.name for item in engagement.list_following(db, viewer, "ben").items] == [
                "ann"
            ]
            hidden = members.load_hidden_member_ids(db, members.find_viewer_id(db, viewer))
            assert search_posts(db, TITLES[1], SearchOptions(hidden=hidden)).posts == []
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


def test_the_name_and_member_id_are_never_reused(populated):
    res, zeb, _, _, own_posts, _ = populated
    delete_account(res, zeb)
    for _ in range(2):
        with pytest.raises(Conflict):
            credentials = sessions.Credentials(NAME, "four words of mine", "1.2.3.4")
            write(res, sessions.sign_up, credentials, display_name="Z")
        finish_deletion(res, own_posts[0].member_id)
    assert read(res, lambda db: db.get(Account, NAME)) is None
    assert (
        read(res, lambda db: members.require_member(db, make_member(res, "zoe")).id)
        > own_posts[0].member_id
    )


def test_account_deletion_requires_the_password(resources):
    res, zeb = resources, make_member(resources, NAME)
    for password in ("", "wrong", PASSWORD + "x"):
        with pytest.raises(UserError, match="password"):
            write(res, account_deletion.delete_account, res.jobs, zeb, password)
    assert read(res, members.require_member, zeb).left_at is None
    assert res.jobs.list_runs(name=account_deletion.ACCOUNT_DELETION) == []


def test_deletion_is_refused_for_deleted_accounts_and_staff(resources):
    res, zeb = resources, make_member(resources, NAME)
    delete_account(res, zeb)
    for person in (zeb, make_staff(res, "boss", "operator")):
        with pytest.raises(NotFound):
            delete_account(res, person)


def test_the_last_administrator_cannot_be_deleted(resources):
    boss = make_member(resources, "boss", roles=("member", "admin"))
    with pytest.raises(Conflict, match="last administrator"):
        delete_account(resources, boss)
    make_member(resources, "second", roles=("admin",))
    delete_account(resources, boss)
    finish_deletion(resources, 1)


def test_rows_written_during_the_deletion_are_erased(populated):
    """A like is written after the run has already erased the member's likes."""
    res, zeb, _, _, own_posts, other_post = populated
    delete_account(res, zeb)
    member_id = own_posts[0].member_id
    account_deletion.erase_likes(res, NOW, member_id)
    with res.db.write() as db:
        db.add(Like(post_id=other_post.id, member_id=member_id, at=NOW))
        db.get(Post, other_post.id).likes += 1
    account_deletion.erase_name(res, NOW, member_id)
    assert find_traces(res) == ([], [])
    assert read(res, lambda db: db.get(Post, other_post.id).likes) == 1
    finish_deletion(res, member_id)


CHILD = """
import sys
sys.path.insert(0, {root!r})
import tanuki.app.metadata
from pathlib import Path
from tanuki.app import bootstrap
from tanuki.animals import account_deletion
from tanuki.platform import resources as resources_file
from tanuki.platform.jobs import run_worker
from tanuki.settings import Settings
import time
account_deletion.ROWS_PER_TRANSACTION = account_deletion.POSTS_PER_TRANSACTION = 1
settings = Settings.model_validate({{"home": Path(sys.argv[1]), "database": sys.argv[2]}})
res = bootstrap.create_resources(settings, upgrade=False)
resources_file.set_process_resources(res)
with run_worker(res.db, "child"):
    print("started", flush=True)
    time.sleep(60)
"""


def test_a_killed_deletion_resumes_and_completes(populated):
    res, zeb, _, ben, own_posts, other_post = populated
    for number in range(10):
        write(res, engagement.like_post, zeb, make_post(res, ben, title=f"Ben {number}").id)
    delete_account(res, zeb)
    count_before = read(res, count_member_rows)
    for _ in range(2):
        root = str(Path(__file__).parents[2])
        code = CHILD.format(root=root)
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(res.settings.home), res.db.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        child.stdout.readline()
        end, start_count = time.monotonic() + 10, read(res, count_member_rows)
        while read(res, count_member_rows) == start_count and time.monotonic() < end:
            time.sleep(0.02)
        child.kill()
        child.wait()
        child.stdout.close()
    assert read(res, count_member_rows) < count_before
    finish_deletion(res, own_posts[0].member_id)
    assert find_traces(res) == ([], [])
    with res.db.read() as db:
        assert {
            post.likes for post in db.scalars(select(Post).where(Post.id != other_post.id))
        } == {0}
        assert db.get(Post, other_post.id).likes == 1


def count_member_rows(db):
    """The number of rows in the tables that a deletion erases from."""
    return sum(
        db.scalar(select(func.count()).select_from(table_class)) or 0
        for table_class in (Like, Comment, Follow, Block, Notification, Post, Member)
    )


def test_a_failed_deletion_is_resumed(populated, monkeypatch):
    monkeypatch.setattr(account_deletion, "RESUME_FAILED_AFTER", timedelta(0))
    res, zeb, _, _, own_posts, _ = populated
    delete_account(res, zeb)
    run = account_deletion.deletion_run_id(own_posts[0].member_id)
    with res.db.write() as db:
        db.execute(text("alter table follow rename to elsewhere"))
    with run_test_worker(res):
        assert res.jobs.wait_for_run(run, seconds=60).status == "failed"
        with res.db.write() as db:
            db.execute(text("alter table elsewhere rename to follow"))
        account_deletion.resume_failed_deletions()
        assert res.jobs.wait_for_run(run, seconds=60).status == "done"
        account_deletion.resume_failed_deletions()
    assert find_traces(res) == ([], [])


def test_each_deletion_transaction_changes_few_rows(embedded):
    """bench/animals_account_deletion.py measures the waiting times with 5,000 posts."""
    zeb, ann = make_member(embedded, NAME), make_member(embedded, "ann")
    own_post = make_post(embedded, zeb)
    other_post = make_post(embedded, ann)
    with embedded.db.write() as db:
        row = {
            name: getattr(own_post, name)
            for name in ("photo", "title", "category", "posted_at", "published_at", "state")
        }
        shared = {**row, "description": "", "tags": []}
        db.execute(
            insert(Post),
            [{**shared, "member_id": own_post.member_id, "key": f"k{n}"} for n in range(100)],
        )
        db.execute(
            insert(Post),
            [
                {**shared, "member_id": other_post.member_id, "key": f"k{n}", "likes": 1}
                for n in range(600)
            ],
        )
        liked_ids = db.scalars(
            select(Post.id).where(Post.member_id == other_post.member_id, Post.likes == 1)
        ).all()
        own_ids = db.scalars(select(Post.id).where(Post.member_id == own_post.member_id)).all()
        db.execute(
            insert(Like),
            [
                {"post_id": post_id, "member_id": own_post.member_id, "at": NOW}
                for post_id in liked_ids
            ],
        )
        db.execute(
            insert(Like),
            [
                {"post_id": post_id, "member_id": other_post.member_id, "at": NOW}
                for post_id in own_ids
            ],
        )
    delete_account(embedded, zeb)
    row_counts = [0]
    event.listen(embedded.db.engine, "begin", lambda _: row_counts.append(0))
    event.listen(
        embedded.db.engine,
        "after_cursor_execute",
        lambda _, cursor, *args: row_counts.append(row_counts.pop() + max(0, cursor.rowcount)),
    )
    finish_deletion(embedded, own_post.member_id)
    assert (
        account_deletion.ROWS_PER_TRANSACTION
        <= max(row_counts)
        <= 3 * account_deletion.ROWS_PER_TRANSACTION
    ), max(row_counts)
    with embedded.db.read() as db:
        assert db.scalar(select(func.max(Post.likes))) == 0
        assert db.scalar(select(func.count()).select_from(Post)) == 601
