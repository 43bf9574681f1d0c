"""A small site in which every id of a route exists.

There are people in every role, and a post of hana's in each state with likes, comments and cases.
"""

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
REMOVED_COMMENT_TEXT = "zyxgone"  # taro's, on the published post, removed by a moderator
HIDDEN_COMMENT_TEXT = "zyxunder"  # taro's, on posts that are hidden later
PEOPLE = ("hana", "taro", "rin", "mika", "bo")


@dataclass(frozen=True)
class PopulatedSite:
    """hana posted, taro liked and commented, rin did nothing, hana blocks mika, and bo is banned.

    mona and saki are moderators, and root is an administrator.
    """

    res: Resources
    app: FastAPI
    posts: dict[str, int]
    digests: dict[str, str]
    comment: int
    removed_comment: int
    case: int
    decision: int  # the removal of the removed post, which hana appealed against
    held_decision: int  # the hold of the held post, without an appeal
    appeal: int
    members: dict[str, int]


def populate_site(res: Resources) -> PopulatedSite:
    """Create the site in empty resources."""
    resources_file.set_process_resources(res)
    now = datetime.now(UTC)
    people = {name: members_and_posts.make_member(res, name) for name in PEOPLE}
    mona, _, _ = (
        members_and_posts.make_staff(res, "mona"),
        members_and_posts.make_staff(res, "saki"),
        members_and_posts.make_staff(res, "root", "admin"),
    )
    values = {"description": "zyx", "tags": ("nap",), "breed": "shiba", "category": "dog"}
    posts_by_state = {
        state: members_and_posts.make_post(
            res, people["hana"], title=SECRET_WORDS[state], state="checking", now=now, **values
        )
        for state in STATES
    }
    with res.db.write() as db:
        for number, state in enumerate(STATES):
            if state == "checking":
                continue
            assert post_review.run_checks(db, posts_by_state[state].id, now=now) == "published"
            engagement.like_post(db, people["taro"], posts_by_state[state].id, now=now)
            engagement.add_comment(
                db,
                people["taro"],
                posts_by_state[state].id,
                COMMENT_TEXT if number == 0 else HIDDEN_COMMENT_TEXT,
                key=f"c{number}",
                now=now,
            )
        engagement.follow_member(db, people["taro"], "hana", now=now)
        engagement.follow_member(db, people["mika"], "taro", now=now)
        members.update_profile(
            db,
            people["hana"],
            members.ProfileChange(
                about="zyxabout",
                photo=photo_files.save_photo(
                    db, res.objects, members_and_posts.make_photo(900), now=now
                ),
            ),
            now=now,
        )
        published_id = posts_by_state["published"].id
        [first_comment] = engagement.list_comments(db, None, published_id).items
        removed_comment = engagement.add_comment(
            db, people["taro"], published_id, REMOVED_COMMENT_TEXT, key="gone", now=now
        )
        decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("comment", removed_comment.id),
            decisions.Ruling("remove", "harassment", "zyxnote"),
            now=now,
        )
        hold_decision = decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("post", posts_by_state["held"].id),
            decisions.Ruling("hold", "blood", "zyxnote"),
            now=now,
        )
        decision = decisions.decide_subject(
            db,
            mona,
            cases.SubjectRef("post", posts_by_state["removed"].id),
            decisions.Ruling("remove", "stolen", "zyxnote"),
            now=now,
        )
        posts.delete_post(db, people["hana"], posts_by_state["deleted"].id, now=now)
        appeal = appeals.submit_appeal(db, people["hana"], decision.id, "zyxappeal", now=now)
        case = cases.report_subject(
            db,
            people["taro"],
            cases.SubjectRef("post", published_id),
            "other",
            "zyxreport",
            now=now,
        )
        members.block_member(db, people["hana"], "mika", "block", now=now)
        ids = {name: members.require_member(db, person).id for name, person in people.items()}
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
            {state: post.id for state, post in posts_by_state.items()},
            {state: post.photo for state, post in posts_by_state.items()},
            first_comment.comment.id,
            removed_comment.id,
            case.id,
            decision.id,
            hold_decision.id,
            appeal.id,
            ids,
        )
