"""Reports, decisions, appeals: what each does at once, who may, what the owner hears, and what stays in the trail."""

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


class Net:
    """hana posts, taro reports, mona and saki moderate; ken only looks."""

    def __init__(self, resources):
        self.res = resources
        self.hana, self.taro, self.ken = (
            members_and_posts.make_member(resources, name) for name in ("hana", "taro", "ken")
        )
        self.mona, self.saki = (
            members_and_posts.make_staff(resources, name) for name in ("mona", "saki")
        )
        self.post = members_and_posts.make_post(resources, self.hana, title="子猫")

    def do(self, function, *given, **named):
        with self.res.db.write() as db:
            return function(db, *given, **named)

    def see(self, function, *given, **named):
        with self.res.db.read() as db:
            return function(db, *given, **named)

    def report(self, who=None, reason="spam", subject="post", subject_id=None):
        return self.do(
            cases.report_subject,
            who or self.taro,
            SubjectRef(subject, subject_id or self.post.id),
            reason,
            "look",
            now=NOW,
        )

    def decide(self, action, reason="spam", note="", who=None, case=None):
        return self.do(
            decisions.decide_case,
            who or self.mona,
            (case or self.report()).id,
            Ruling(action, reason, note),
            now=LATER,
        )

    def appeal(self, decision, who=None, words="wrong"):
        return self.do(appeals.submit_appeal, who or self.hana, decision.id, words, now=LATER)

    def answer(self, appeal, overturn, who=None):
        return self.do(
            appeals.answer_appeal,
            who or self.saki,
            appeal.id,
            overturn=overturn,
            text="looked again",
            now=LATER,
        )

    def state(self):
        return self.see(lambda db: db.get(Post, self.post.id).state)

    def found(self):
        return [hit.post_id for hit in self.see(search_posts, "猫").posts]

    def told(self, who):
        return [
            item.notification.kind for item in self.see(notifications.list_notifications, who).items
        ]

    def banned(self):
        return self.see(
            lambda db: db.scalar(select(Member.ban_reason).where(Member.name == "hana"))
        )


@pytest.fixture
def net(resources):
    return Net(resources)


# ---- reports and the queue -----------------------------------------------------------------------------------------


def test_reports_about_one_thing_make_one_case_and_the_same_member_counts_once(net):
    first, again, second = net.report(), net.report(reason="blood"), net.report(net.ken, "cruelty")
    assert first.id == again.id == second.id
    case = net.see(lambda db: db.get(Case, first.id))
    assert (case.reports, case.weight) == (2, 6.0)
    assert [each.reporter.name for each in net.see(cases.list_reports, case)] == ["taro", "ken"]


def test_reports_at_the_same_moment_are_one_case(net):
    reporters = [members_and_posts.make_member(net.res, f"member{n}") for n in range(8)]
    threads = [threading.Thread(target=net.report, args=(who,)) for who in reporters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    case = net.see(lambda db: db.scalars(select(Case)).one())
    assert (
        case.reports,
        net.see(lambda db: db.scalar(select(func.count()).select_from(Report))),
    ) == (8, 8)


def test_the_queue_has_the_most_urgent_first_page_by_page(net):
    others = [members_and_posts.make_post(net.res, net.hana, title=f"猫{n}") for n in range(4)]
    for post, reason in zip(others, ("spam", "cruelty", "spam", "nudity"), strict=True):
        net.report(reason=reason, subject_id=post.id)
    wanted = [others[n].id for n in (1, 3, 0, 2)]
    seen, after = [], None
    while True:
        page = net.see(cases.list_open_cases, net.mona, after=after, limit=1)
        seen += [case.subject_id for case in page.items]
        if (after := page.next) is None:
            break
    assert seen == wanted
    assert net.see(cases.count_open_cases, net.mona) == 4


def test_what_one_cannot_see_or_owns_cannot_be_reported(net):
    hidden = members_and_posts.make_post(net.res, net.hana, state="held")
    with pytest.raises(NotFound):
        net.report(subject_id=hidden.id)
    with pytest.raises(NotFound):
        net.report(subject="comment", subject_id=99)
    with pytest.raises(UserError, match="your own"):
        net.report(net.hana)
    with pytest.raises(UserError, match="not a reason"):
        net.report(reason="ugly")
    with pytest.raises(UserError, match="cannot be reported"):
        net.report(subject="store")
    net.do(members.block_member, net.hana, "taro", "block", now=NOW)
    with pytest.raises(NotFound):
        net.report()


def test_only_moderators_see_cases_and_none_about_themselves(net):
    case = net.report()
    for who in (net.hana, net.taro):
        with pytest.raises(NotAllowed):
            net.see(cases.list_open_cases, who)
        with pytest.raises(NotAllowed):
            net.see(cases.load_case, who, case.id)
    both = members_and_posts.make_member(net.res, "both", roles=("member", "moderator"))
    own = members_and_posts.make_post(net.res, both)
    about = net.report(subject_id=own.id)
    assert [item.id for item in net.see(cases.list_open_cases, both).items] == [case.id]
    with pytest.raises(NotFound):
        net.see(cases.load_case, both, about.id)
    with pytest.raises(NotFound):
        net.decide("keep", who=both, case=about)


def test_a_case_shows_what_was_said_before_an_edit(net):
    net.do(
        posts.edit_post,
        net.res.jobs,
        net.hana,
        posts.PostVersion(net.post.id, 1),
        members_and_posts.make_draft("かわいい"),
        now=NOW,
    )
    subject = net.see(lambda db: cases.load_subject(db, db.get(Case, net.report().id)))
    assert subject.post.title == "かわいい"
    assert [edit.content["title"] for edit in subject.edits] == ["子猫"]
    assert subject.photo.digest == net.post.photo


# ---- decisions -----------------------------------------------------------------------------------------------------


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
def test_a_decision_does_what_it_says_and_the_owner_hears_why(net, action, state):
    made = net.decide(action, "blood", "見た人が驚きます")
    assert net.state() == state
    assert net.found() == ([net.post.id] if state == "published" else [])
    kinds = {
        "keep": [],
        "hold": ["held"],
        "remove": ["removed"],
        "warn": ["warned"],
        "ban": ["banned"],
    }[action]
    assert net.told(net.hana) == kinds
    assert net.banned() == ("blood" if action == "ban" else None)
    mine = net.see(decisions.list_own_decisions, net.hana).items
    assert [(each.decision.id, each.decision.note) for each in mine] == (
        [] if action == "keep" else [(made.id, "見た人が驚きます")]
    )


def test_restoring_restores_the_search_the_lists_the_counts_and_the_likes(net):
    net.do(engagement.like_post, net.taro, net.post.id, now=NOW)
    before = net.see(
        lambda db: (
            db.get(Post, net.post.id).likes,
            db.get(Post, net.post.id).hot_score,
            members.require_member(db, net.hana).posts,
        )
    )
    net.decide("remove")
    assert net.see(lambda db: members.require_member(db, net.hana).posts) == 0
    net.do(
        decisions.decide_subject,
        net.saki,
        SubjectRef("post", net.post.id),
        Ruling("restore", "spam"),
        now=LATER,
    )
    assert net.found() == [net.post.id]
    assert [item.id for item in net.see(post_queries.list_newest_posts, None).items] == [
        net.post.id
    ]
    assert (
        net.see(
            lambda db: (
                db.get(Post, net.post.id).likes,
                db.get(Post, net.post.id).hot_score,
                members.require_member(db, net.hana).posts,
            )
        )
        == before
    )
    assert net.see(lambda db: db.get(Post, net.post.id).reason) is None


def test_what_a_rule_holds_is_in_the_queue_and_nothing_wrong_publishes_it(net):
    net.do(banned_words.ban_word, net.mona, "casino", now=NOW)
    held = members_and_posts.make_post(net.res, net.hana, title="casino", state="checking")
    assert net.do(post_review.run_checks, held.id, now=NOW) == "held"
    (case,) = net.see(cases.list_open_cases, net.mona).items
    assert (case.subject_id, case.reports) == (held.id, 0)
    net.decide("keep", case=case)
    assert net.see(lambda db: db.get(Post, held.id).state) == "published"


def test_a_comment_is_removed_and_restored_with_its_count(net):
    comment = net.do(engagement.add_comment, net.taro, net.post.id, "buy!", key="k", now=NOW)
    case = net.report(net.hana, subject="comment", subject_id=comment.id)
    net.decide("remove", case=case)
    assert net.see(
        lambda db: (db.get(Post, net.post.id).comments, db.get(Comment, comment.id).state)
    ) == (0, "removed")
    net.do(
        decisions.decide_subject,
        net.saki,
        SubjectRef("comment", comment.id),
        Ruling("restore", "spam"),
        now=LATER,
    )
    assert net.see(
        lambda db: (db.get(Post, net.post.id).comments, db.get(Comment, comment.id).state)
    ) == (1, "shown")


def test_who_is_banned_reads_and_appeals_but_does_not_write(net):
    case = net.report(subject="member", subject_id=net.see(members.require_member, net.hana).id)
    net.decide("ban", "harassment", case=case)
    for write in (
        lambda db: engagement.like_post(db, net.hana, net.post.id, now=LATER),
        lambda db: engagement.add_comment(db, net.hana, net.post.id, "x", key="k", now=LATER),
        lambda db: cases.report_subject(
            db, net.hana, cases.SubjectRef("post", net.post.id), "spam", now=LATER
        ),
        lambda db: members.update_profile(
            db, net.hana, members.ProfileChange(display="x"), now=LATER
        ),
        lambda db: posts.delete_post(db, net.hana, net.post.id, now=LATER),
    ):
        with pytest.raises(NotAllowed, match="banned"):
            net.do(write)
    assert net.see(post_queries.load_visible_post, net.post.id, net.hana).id == net.post.id
    net.do(
        decisions.decide_subject,
        net.mona,
        SubjectRef("member", case.subject_id),
        Ruling("unban", "other"),
        now=LATER,
    )
    net.do(engagement.add_comment, net.hana, net.post.id, "thank you", key="k", now=LATER)


def test_a_case_is_decided_once(net):
    case = net.report()
    net.decide("keep", case=case)
    with pytest.raises(Conflict, match="meanwhile"):
        net.decide("remove", case=case, who=net.saki)
    assert net.state() == "published"
    assert net.report(net.ken).id != case.id


def test_two_moderators_at_the_same_moment_make_one_decision(net):
    case, outcomes = net.report(), []

    def decide(who, action):
        try:
            outcomes.append(net.decide(action, who=who, case=case).action)
        except Conflict:
            outcomes.append(None)

    threads = [
        threading.Thread(target=decide, args=each)
        for each in ((net.mona, "remove"), (net.saki, "keep"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, outcomes)) == [False, True]
    assert net.see(lambda db: db.scalar(select(func.count()).select_from(Decision))) == 1


def test_what_changes_nothing_or_does_not_fit_is_refused(net):
    case = net.report()
    with pytest.raises(UserError, match="not possible here"):
        net.decide("unban", case=case)
    with pytest.raises(Conflict, match="changes nothing"):
        net.decide("restore", case=case)
    assert net.see(lambda db: decisions.possible_actions(db, db.get(Case, case.id))) == [
        "keep",
        "hold",
        "remove",
        "warn",
        "ban",
    ]
    assert net.see(lambda db: db.get(Case, case.id).state) == "open"
    assert {action for actions in ACTIONS_BY_SUBJECT.values() for action in actions} >= {
        "keep",
        "unban",
    }


def test_a_removed_post_that_its_owner_deleted_is_not_brought_back_by_the_undo(net):
    net.do(posts.delete_post, net.hana, net.post.id, now=NOW)
    net.do(
        decisions.decide_subject,
        net.mona,
        SubjectRef("post", net.post.id),
        Ruling("remove", "blood"),
        now=NOW,
    )
    net.do(posts.undo_delete, net.hana, net.post.id, now=NOW)
    assert net.state() == "removed"


# ---- appeals -------------------------------------------------------------------------------------------------------


def test_an_appeal_overturned_by_another_moderator_gives_everything_back(net):
    made = net.appeal(net.decide("remove", "stolen"))
    with pytest.raises(NotAllowed, match="another moderator"):
        net.answer(made, True, who=net.mona)
    assert net.see(appeals.list_open_appeals, net.mona).items == []
    assert [item.appeal.id for item in net.see(appeals.list_open_appeals, net.saki).items] == [
        made.id
    ]
    assert net.answer(made, True).state == "overturned"
    assert (net.state(), net.found()) == ("published", [net.post.id])
    assert net.told(net.hana) == ["appeal", "restored", "removed"]


def test_an_appeal_upheld_leaves_the_decision(net):
    made = net.appeal(net.decide("hold", "blood"))
    assert net.answer(made, False).state == "upheld"
    assert net.state() == "held"
    with pytest.raises(Conflict, match="answered"):
        net.answer(made, True)


def test_a_ban_appealed_against_and_overturned_is_lifted(net):
    made = net.appeal(net.decide("ban", "harassment"))
    net.answer(made, True)
    assert net.banned() is None


def test_one_appeals_once_and_only_against_what_is_ones_own(net):
    decision = net.decide("remove")
    with pytest.raises(NotFound):
        net.appeal(decision, who=net.taro)
    net.appeal(decision)
    with pytest.raises(Conflict, match="already"):
        net.appeal(decision)
    kept = net.decide(
        "keep", case=net.report(subject_id=members_and_posts.make_post(net.res, net.hana).id)
    )
    with pytest.raises(UserError, match="Nothing was decided against you"):
        net.appeal(kept)
    for who in (net.hana, net.taro):
        with pytest.raises(NotAllowed):
            net.see(appeals.list_open_appeals, who)


# ---- the audit log -----------------------------------------------------------------------------------------------------


def test_the_audit_log_has_every_decision_and_notices_an_edit(net):
    net.answer(net.appeal(net.decide("remove", "blood", "note")), True)
    entries = net.see(audit_log.load_entries, target=f"post:{net.post.id}")
    assert [entry.action for entry in reversed(entries)] == [
        "remove",
        "appeal",
        "overturned",
        "restore",
    ]
    assert [entry.actor for entry in reversed(entries)] == [
        "mona",
        f"member:{net.post.member_id}",
        "saki",
        "saki",
    ]
    assert "note" not in [entry.details.get("note") for entry in entries]
    assert net.see(audit_log.find_broken_entry) is None
    third = sorted(entry.id for entry in entries)[2]
    net.do(
        lambda db: db.execute(
            update(audit_log.AuditLogEntry)
            .where(audit_log.AuditLogEntry.id == third)
            .values(actor="mona")
        )
    )
    assert net.see(audit_log.find_broken_entry) == third
