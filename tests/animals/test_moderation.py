"""Moderation: reports, decisions and appeals, their effects, permissions and audit log entries."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from tanuki.animals import (
    banned_words,
    engagement,
    members,
    notifications,
    post_queries,
    post_review,
    posts,
)
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.animals.moderation.cases import SubjectRef
from tanuki.animals.moderation.decisions import Ruling
from tanuki.animals.moderation.reasons import ACTIONS_BY_SUBJECT
from tanuki.animals.search.search import search_posts
from tanuki.animals.tables import Case, Comment, Decision, Member, Post, Report
from tanuki.errors import Conflict, NotAllowed, NotFound, UserError
from tanuki.platform import audit_log
from tests.factories import members_and_posts
from tests.factories.members_and_posts import NOW

LATER = NOW + timedelta(hours=1)


class Community:
    """hana posts, taro reports, mona and saki moderate, and ken reads."""

    def __init__(self, resources):
        self.res = resources
        self.hana, self.taro, self.ken = (
            members_and_posts.make_member(resources, name) for name in ("hana", "taro", "ken")
        )
        self.mona, self.saki = (
            members_and_posts.make_staff(resources, name) for name in ("mona", "saki")
        )
        self.post = members_and_posts.make_post(resources, self.hana, title="子猫")

    def write(self, function, *args, **options):
        with self.res.db.write() as db:
            return function(db, *args, **options)

    def read(self, function, *args, **options):
        with self.res.db.read() as db:
            return function(db, *args, **options)

    def report(self, person=None, reason="spam", subject="post", subject_id=None):
        return self.write(
            cases.report_subject,
            person or self.taro,
            SubjectRef(subject, subject_id or self.post.id),
            reason,
            "look",
            now=NOW,
        )

    def decide(self, action, reason="spam", note="", person=None, case=None):
        return self.write(
            decisions.decide_case,
            person or self.mona,
            (case or self.report()).id,
            Ruling(action, reason, note),
            now=LATER,
        )

    def appeal(self, decision, person=None, text="wrong"):
        return self.write(appeals.submit_appeal, person or self.hana, decision.id, text, now=LATER)

    def answer(self, appeal, overturn, person=None):
        return self.write(
            appeals.answer_appeal,
            person or self.saki,
            appeal.id,
            overturn=overturn,
            text="reviewed again",
            now=LATER,
        )

    def load_state(self):
        return self.read(lambda db: db.get(Post, self.post.id).state)

    def search_ids(self):
        return [hit.post_id for hit in self.read(search_posts, "猫").posts]

    def list_notification_kinds(self, person):
        return [
            item.notification.kind
            for item in self.read(notifications.list_notifications, person).items
        ]

    def load_ban_reason(self):
        return self.read(
            lambda db: db.scalar(select(Member.ban_reason).where(Member.name == "hana"))
        )


@pytest.fixture
def community(resources):
    return Community(resources)


# ---- reports and the queue ---------------------------------------------------------------------


def test_reports_on_one_subject_share_a_case_and_a_reporter_counts_once(community):
    first_case, repeated_case, second_case = (
        community.report(),
        community.report(reason="blood"),
        community.report(community.ken, "cruelty"),
    )
    assert first_case.id == repeated_case.id == second_case.id
    case = community.read(lambda db: db.get(Case, first_case.id))
    assert (case.reports, case.weight) == (2, 6.0)
    assert [report.reporter.name for report in community.read(cases.list_reports, case)] == [
        "taro",
        "ken",
    ]


def test_parallel_reports_share_one_case(community):
    reporters = [members_and_posts.make_member(community.res, f"member{n}") for n in range(8)]
    threads = [threading.Thread(target=community.report, args=(person,)) for person in reporters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    case = community.read(lambda db: db.scalars(select(Case)).one())
    assert (
        case.reports,
        community.read(lambda db: db.scalar(select(func.count()).select_from(Report))),
    ) == (8, 8)


def test_the_queue_is_paged_by_urgency(community):
    other_posts = [
        members_and_posts.make_post(community.res, community.hana, title=f"猫{n}") for n in range(4)
    ]
    for post, reason in zip(other_posts, ("spam", "cruelty", "spam", "nudity"), strict=True):
        community.report(reason=reason, subject_id=post.id)
    expected_ids = [other_posts[n].id for n in (1, 3, 0, 2)]
    seen_ids, after = [], None
    while True:
        page = community.read(cases.list_open_cases, community.mona, after=after, limit=1)
        seen_ids += [case.subject_id for case in page.items]
        if (after := page.next) is None:
            break
    assert seen_ids == expected_ids
    assert community.read(cases.count_open_cases, community.mona) == 4


def test_hidden_own_and_unknown_subjects_cannot_be_reported(community):
    hidden = members_and_posts.make_post(community.res, community.hana, state="held")
    with pytest.raises(NotFound):
        community.report(subject_id=hidden.id)
    with pytest.raises(NotFound):
        community.report(subject="comment", subject_id=99)
    with pytest.raises(UserError, match="your own"):
        community.report(community.hana)
    with pytest.raises(UserError, match="not a reason"):
        community.report(reason="ugly")
    with pytest.raises(UserError, match="cannot be reported"):
        community.report(subject="store")
    community.write(members.block_member, community.hana, "taro", "block", now=NOW)
    with pytest.raises(NotFound):
        community.report()


def test_only_moderators_see_cases_and_never_their_own(community):
    case = community.report()
    for person in (community.hana, community.taro):
        with pytest.raises(NotAllowed):
            community.read(cases.list_open_cases, person)
        with pytest.raises(NotAllowed):
            community.read(cases.load_case, person, case.id)
    member_moderator = members_and_posts.make_member(
        community.res, "both", roles=("member", "moderator")
    )
    own_post = members_and_posts.make_post(community.res, member_moderator)
    own_case = community.report(subject_id=own_post.id)
    assert [item.id for item in community.read(cases.list_open_cases, member_moderator).items] == [
        case.id
    ]
    with pytest.raises(NotFound):
        community.read(cases.load_case, member_moderator, own_case.id)
    with pytest.raises(NotFound):
        community.decide("keep", person=member_moderator, case=own_case)


def test_a_case_shows_former_versions_of_the_post(community):
    community.write(
        posts.edit_post,
        community.res.jobs,
        community.hana,
        posts.PostVersion(community.post.id, 1),
        members_and_posts.make_draft("かわいい"),
        now=NOW,
    )
    subject = community.read(lambda db: cases.load_subject(db, db.get(Case, community.report().id)))
    assert subject.post.title == "かわいい"
    assert [edit.content["title"] for edit in subject.edits] == ["子猫"]
    assert subject.photo.digest == community.post.photo


# ---- decisions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("keep", "published"),
        ("hold", "held"),
        ("remove", "removed"),
        ("warn", "published"),
        ("ban", "published"),
    ],
)
def test_a_decision_applies_and_notifies_the_owner(community, action, state):
    decision = community.decide(action, "blood", "見た人が驚きます")
    assert community.load_state() == state
    assert community.search_ids() == ([community.post.id] if state == "published" else [])
    kinds = {
        "keep": [],
        "hold": ["held"],
        "remove": ["removed"],
        "warn": ["warned"],
        "ban": ["banned"],
    }[action]
    assert community.list_notification_kinds(community.hana) == kinds
    assert community.load_ban_reason() == ("blood" if action == "ban" else None)
    own_decisions = community.read(decisions.list_own_decisions, community.hana).items
    assert [(item.decision.id, item.decision.note) for item in own_decisions] == (
        [] if action == "keep" else [(decision.id, "見た人が驚きます")]
    )


def test_restoring_a_post_restores_search_lists_counts_and_likes(community):
    community.write(engagement.like_post, community.taro, community.post.id, now=NOW)
    before = community.read(
        lambda db: (
            db.get(Post, community.post.id).likes,
            db.get(Post, community.post.id).hot_score,
            members.require_member(db, community.hana).posts,
        )
    )
    community.decide("remove")
    assert community.read(lambda db: members.require_member(db, community.hana).posts) == 0
    community.write(
        decisions.decide_subject,
        community.saki,
        SubjectRef("post", community.post.id),
        Ruling("restore", "spam"),
        now=LATER,
    )
    assert community.search_ids() == [community.post.id]
    assert [item.id for item in community.read(post_queries.list_newest_posts, None).items] == [
        community.post.id
    ]
    assert (
        community.read(
            lambda db: (
                db.get(Post, community.post.id).likes,
                db.get(Post, community.post.id).hot_score,
                members.require_member(db, community.hana).posts,
            )
        )
        == before
    )
    assert community.read(lambda db: db.get(Post, community.post.id).reason) is None


def test_a_post_held_by_a_rule_is_queued_and_keep_publishes_it(community):
    community.write(banned_words.ban_word, community.mona, "casino", now=NOW)
    held_post = members_and_posts.make_post(
        community.res, community.hana, title="casino", state="checking"
    )
    assert community.write(post_review.run_checks, held_post.id, now=NOW) == "held"
    (case,) = community.read(cases.list_open_cases, community.mona).items
    assert (case.subject_id, case.reports) == (held_post.id, 0)
    community.decide("keep", case=case)
    assert community.read(lambda db: db.get(Post, held_post.id).state) == "published"


def test_removing_and_restoring_a_comment_changes_the_count(community):
    comment = community.write(
        engagement.add_comment, community.taro, community.post.id, "buy!", key="k", now=NOW
    )
    case = community.report(community.hana, subject="comment", subject_id=comment.id)
    community.decide("remove", case=case)
    assert community.read(
        lambda db: (db.get(Post, community.post.id).comments, db.get(Comment, comment.id).state)
    ) == (0, "removed")
    community.write(
        decisions.decide_subject,
        community.saki,
        SubjectRef("comment", comment.id),
        Ruling("restore", "spam"),
        now=LATER,
    )
    assert community.read(
        lambda db: (db.get(Post, community.post.id).comments, db.get(Comment, comment.id).state)
    ) == (1, "shown")


def test_a_banned_member_reads_and_does_not_write_until_unbanned(community):
    case = community.report(
        subject="member", subject_id=community.read(members.require_member, community.hana).id
    )
    community.decide("ban", "harassment", case=case)
    for write in (
        lambda db: engagement.like_post(db, community.hana, community.post.id, now=LATER),
        lambda db: engagement.add_comment(
            db, community.hana, community.post.id, "x", key="k", now=LATER
        ),
        lambda db: cases.report_subject(
            db, community.hana, cases.SubjectRef("post", community.post.id), "spam", now=LATER
        ),
        lambda db: members.update_profile(
            db, community.hana, members.ProfileChange(display="x"), now=LATER
        ),
        lambda db: posts.delete_post(db, community.hana, community.post.id, now=LATER),
    ):
        with pytest.raises(NotAllowed, match="banned"):
            community.write(write)
    assert (
        community.read(post_queries.load_visible_post, community.post.id, community.hana).id
        == community.post.id
    )
    community.write(
        decisions.decide_subject,
        community.mona,
        SubjectRef("member", case.subject_id),
        Ruling("unban", "other"),
        now=LATER,
    )
    community.write(
        engagement.add_comment, community.hana, community.post.id, "thank you", key="k", now=LATER
    )


def test_a_case_can_be_decided_once(community):
    case = community.report()
    community.decide("keep", case=case)
    with pytest.raises(Conflict, match="meanwhile"):
        community.decide("remove", case=case, person=community.saki)
    assert community.load_state() == "published"
    assert community.report(community.ken).id != case.id


def test_parallel_decisions_on_a_case_make_one_decision(community):
    case, outcomes = community.report(), []

    def decide(person, action):
        try:
            outcomes.append(community.decide(action, person=person, case=case).action)
        except Conflict:
            outcomes.append(None)

    threads = [
        threading.Thread(target=decide, args=args)
        for args in ((community.mona, "remove"), (community.saki, "keep"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, outcomes)) == [False, True]
    assert community.read(lambda db: db.scalar(select(func.count()).select_from(Decision))) == 1


def test_impossible_and_ineffective_actions_are_refused(community):
    case = community.report()
    with pytest.raises(UserError, match="not possible here"):
        community.decide("unban", case=case)
    with pytest.raises(Conflict, match="changes nothing"):
        community.decide("restore", case=case)
    assert community.read(lambda db: decisions.possible_actions(db, db.get(Case, case.id))) == [
        "keep",
        "hold",
        "remove",
        "warn",
        "ban",
    ]
    assert community.read(lambda db: db.get(Case, case.id).state) == "open"
    assert {action for actions in ACTIONS_BY_SUBJECT.values() for action in actions} >= {
        "keep",
        "unban",
    }


def test_undo_of_a_removed_post_leaves_it_removed(community):
    community.write(posts.delete_post, community.hana, community.post.id, now=NOW)
    community.write(
        decisions.decide_subject,
        community.mona,
        SubjectRef("post", community.post.id),
        Ruling("remove", "blood"),
        now=NOW,
    )
    community.write(posts.undo_delete, community.hana, community.post.id, now=NOW)
    assert community.load_state() == "removed"


# ---- appeals -----------------------------------------------------------------------------------


def test_an_overturned_appeal_restores_the_post(community):
    appeal = community.appeal(community.decide("remove", "stolen"))
    with pytest.raises(NotAllowed, match="another moderator"):
        community.answer(appeal, True, person=community.mona)
    assert community.read(appeals.list_open_appeals, community.mona).items == []
    assert [
        item.appeal.id for item in community.read(appeals.list_open_appeals, community.saki).items
    ] == [appeal.id]
    assert community.answer(appeal, True).state == "overturned"
    assert (community.load_state(), community.search_ids()) == ("published", [community.post.id])
    assert community.list_notification_kinds(community.hana) == ["appeal", "restored", "removed"]


def test_an_upheld_appeal_leaves_the_decision(community):
    appeal = community.appeal(community.decide("hold", "blood"))
    assert community.answer(appeal, False).state == "upheld"
    assert community.load_state() == "held"
    with pytest.raises(Conflict, match="answered"):
        community.answer(appeal, True)


def test_an_overturned_ban_is_lifted(community):
    appeal = community.appeal(community.decide("ban", "harassment"))
    community.answer(appeal, True)
    assert community.load_ban_reason() is None


def test_only_the_owner_can_appeal_and_only_once(community):
    decision = community.decide("remove")
    with pytest.raises(NotFound):
        community.appeal(decision, person=community.taro)
    community.appeal(decision)
    with pytest.raises(Conflict, match="already"):
        community.appeal(decision)
    keep_decision = community.decide(
        "keep",
        case=community.report(
            subject_id=members_and_posts.make_post(community.res, community.hana).id
        ),
    )
    with pytest.raises(UserError, match="Nothing was decided against you"):
        community.appeal(keep_decision)
    for person in (community.hana, community.taro):
        with pytest.raises(NotAllowed):
            community.read(appeals.list_open_appeals, person)


# ---- the audit log -----------------------------------------------------------------------------


def test_the_audit_log_has_every_decision_and_detects_changes(community):
    community.answer(community.appeal(community.decide("remove", "blood", "note")), True)
    entries = community.read(audit_log.load_entries, target=f"post:{community.post.id}")
    assert [entry.action for entry in reversed(entries)] == [
        "remove",
        "appeal",
        "overturned",
        "restore",
    ]
    assert [entry.actor for entry in reversed(entries)] == [
        "mona",
        f"member:{community.post.member_id}",
        "saki",
        "saki",
    ]
    assert "note" not in [entry.details.get("note") for entry in entries]
    assert community.read(audit_log.find_broken_entry) is None
    third_id = sorted(entry.id for entry in entries)[2]
    community.write(
        lambda db: db.execute(
            update(audit_log.AuditLogEntry)
            .where(audit_log.AuditLogEntry.id == third_id)
            .values(actor="mona")
        )
    )
    assert community.read(audit_log.find_broken_entry) == third_id
