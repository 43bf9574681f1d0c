"""A small site in which every id of a route exists: people in every role, and a post of hana's in
each state, with what belongs to it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import FastAPI

from tanuki.animals import engagement, members, post_review, posts
from tanuki.animals import web as animals_web
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import appeals, cases, decisions
from tanuki.platform import resources as resources_file
from tanuki.platform.resources import Resources
from tanuki.platform.web import app as web
from tests.factories import members_and_posts

STATES = ("published", "checking", "held", "removed", "deleted")
# A word that is only in hana's post in this state.
SECRET_WORDS = {state: f"zyx{state}" for state in STATES}
COMMENT_TEXT = "zyxtalk"  # taro's, on the published post
REMOVED_COMMENT_TEXT = "zyxgone"  # taro's, there as well, removed by a moderator
HIDDEN_COMMENT_TEXT = "zyxunder"  # taro's, on posts that are hidden by now
PEOPLE = ("hana", "taro", "rin", "mika", "bo")


@dataclass(frozen=True)
class PopulatedSite:
    """hana posted, taro commented and liked, rin did nothing, mika is blocked by hana, bo is banned, mona
    and saki moderate, root administers."""

    res: Resources
    app: FastAPI
    posts: dict[str, int]
    digests: dict[str, str]
    comment: int
    gone: int
    case: int
    decision: int  # that the removed post is removed, which hana appealed against
    held_decision: int  # that the held post is held, which she did not
    appeal: int
    members: dict[str, int]


def populate_site(res: Resources) -> PopulatedSite:
    """Create the site in empty resources."""
    resources_file.set_process_resources(res)
    now = datetime.now(UTC)
    who = {name: members_and_posts.make_member(res, name) for name in PEOPLE}
    mona, _, _ = (
        members_and_posts.make_staff(res, "mona"),
        members_and_posts.make_staff(res, "saki"),
        members_and_posts.make_staff(res, "root", "admin"),
    )
    words = {"description": "zyx", "tags": ("nap",), "breed": "shiba", "category": "dog"}
    made = {
        state: members_and_posts.make_post(
            res, who["hana"], title=SECRET_WORDS[state], state="checking", now=now, **words
        )
        for state in STATES
    }
    with res.db.write() as db:
        for number, state in enumerate(STATES):
            if state == "checking":
                continue
            assert post_review.run_checks(db, made[state].id, now=now) == "published"
            engagement.like_post(db, who["taro"], made[state].id, now=now)
            engagement.add_comment(
                db,
                who["taro"],
                made[state].id,
                COMMENT_TEXT if number == 0 else HIDDEN_COMMENT_TEXT,
                key=f"c{number}",
                now=now,
            )
        engagement.follow_member(db, who["taro"], "hana", now=now)
        engagement.follow_member(db, who["mika"], "taro", now=now)
        members.update_profile(
            db,
            who["hana"],
            members.ProfileChange(
                about="zyxabout",
                photo=photo_files.save_photo(
                    db, res.objects, members_and_posts.make_photo(900), now=now
                ),
            ),
            now=now,
        )
        shown = made["published"].id
        [first] = engagement.list_comments(db, None, shown).items
        gone = engagement.add_comment(
            db, who["taro"], shown, REMOVED_COMMENT_TEXT, key="gone", now=now
        )
        decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("comment", gone.id),
            decisions.Ruling("remove", "harassment", "zyxnote"),
            now=now,
        )
        held = decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("post", made["held"].id),
            decisions.Ruling("hold", "blood", "zyxnote"),
            now=now,
        )
        decision = decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("post", made["removed"].id),
            decisions.Ruling("remove", "stolen", "zyxnote"),
            now=now,
        )
        posts.delete_post(db, who["hana"], made["deleted"].id, now=now)
        appeal = appeals.submit_appeal(db, who["hana"], decision.id, "zyxappeal", now=now)
        case = cases.report_subject(
            db, who["taro"], cases.SubjectRef("post", shown), "other", "zyxreport", now=now
        )
        members.block_member(db, who["hana"], "mika", "block", now=now)
        ids = {name: members.require_member(db, person).id for name, person in who.items()}
        decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("member", ids["bo"]),
            decisions.Ruling("ban", "spam", "zyxban"),
            now=now,
        )
        return PopulatedSite(
            res,
            web.create_app(res, [animals_web.SYSTEM]),
            {state: post.id for state, post in made.items()},
            {state: post.photo for state, post in made.items()},
            first.comment.id,
            gone.id,
            case.id,
            decision.id,
            held.id,
            appeal.id,
            ids,
        )
