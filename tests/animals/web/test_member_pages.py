"""Members' buttons and forms: likes, follows, comments, blocks, profile; JSON for scripts."""

import re

import pytest

from tanuki.animals import engagement
from tanuki.animals.tables import Member
from tanuki.platform import accounts
from tests.factories.http_clients import csrf, make_person, signed_in, visitor
from tests.factories.members_and_posts import NOW, make_member, make_picture, make_post, make_staff

JSON = {"Accept": "application/json"}


@pytest.fixture
def mugi(embedded):
    return make_post(embedded, make_member(embedded, "hana"), title="Mugi")


@pytest.fixture
def ken(app, embedded):
    make_member(embedded, "ken")
    return signed_in(app, "ken")


def submit(browser, path, headers=None, **fields):
    return browser.post(
        path, data={"csrf": csrf(browser, "/animals/post"), **fields}, headers=headers
    )


def test_a_like_returns_to_the_page_and_gives_a_script_the_count(ken, mugi):
    path = f"/animals/posts/{mugi.id}"
    answer = submit(ken, f"{path}/like", next="/animals/newest")
    assert (answer.status_code, answer.headers["location"]) == (303, "/animals/newest")
    assert submit(ken, f"{path}/unlike", JSON).json() == {
        "pressed": False,
        "count": 0,
        "next_action": f"{path}/like",
    }
    assert submit(ken, f"{path}/like", JSON).json() == {
        "pressed": True,
        "count": 1,
        "next_action": f"{path}/unlike",
    }


def test_a_button_never_leads_off_the_site(ken, mugi):
    answer = submit(ken, f"/animals/posts/{mugi.id}/like", next="https://elsewhere.example/")
    assert answer.headers["location"] == "/"


def test_following_shows_on_the_profile(ken, mugi):
    assert submit(ken, "/animals/members/hana/follow").status_code == 303
    page = ken.get("/animals/members/hana").text
    assert 'aria-pressed="true" aria-label="Follow Hana"' in page and "<b>1</b> follower" in page
    assert (
        submit(ken, "/animals/members/hana/unfollow", JSON).json()["next_action"]
        == "/animals/members/hana/follow"
    )


def test_scripts_get_errors_in_the_readers_language(ken, mugi):
    answer = submit(ken, "/animals/members/ken/follow", {**JSON, "Accept-Language": "ja"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "自分自身はフォローできません。"


def test_a_comment_is_stored_once_shown_and_deleted(ken, mugi):
    path = f"/animals/posts/{mugi.id}"
    key = re.search(r'name="key" value="([^"]+)"', ken.get(path).text)[1]
    answers = [submit(ken, f"{path}/comments", text="かわいい", key=key) for _ in range(2)]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    page = ken.get(path).text
    assert page.count("かわいい</p>") == 1
    number = answers[0].headers["location"].partition("#comment-")[2]
    assert submit(ken, f"/animals/comments/{number}/delete").status_code == 303
    assert "かわいい</p>" not in ken.get(path).text


def test_a_comment_on_the_second_page_leads_there(ken, mugi, embedded):
    with embedded.db.write() as db:
        for n in range(30):
            engagement.add_comment(
                db,
                make_member(embedded, "ken") if n == 0 else load_ken(embedded),
                mugi.id,
                f"words {n}",
                key=f"k{n}",
                now=NOW,
            )
    answer = submit(ken, f"/animals/posts/{mugi.id}/comments", text="the last", key="last")
    page = ken.get(answer.headers["location"]).text
    assert "the last" in page and "Earlier comments" in page


def load_ken(embedded):
    with embedded.db.read() as db:
        return accounts.find_person(db, "ken")


def test_a_muted_member_is_hidden_from_lists_until_unmuted(ken, mugi):
    assert "Mugi" in ken.get("/animals/newest").text
    assert submit(ken, "/animals/members/hana/mute").headers["location"] == "/animals/blocks"
    assert "Mugi" not in ken.get("/animals/newest").text
    assert "Unmute" in ken.get("/animals/members/hana").text
    submit(ken, "/animals/members/hana/unblock")
    assert "Mugi" in ken.get("/animals/newest").text


def test_a_block_is_ended_on_the_page_of_blocks(ken, mugi):
    submit(ken, "/animals/members/hana/block")
    assert ken.get("/animals/members/hana").status_code == 404
    assert "/animals/members/hana/unblock" in ken.get("/animals/blocks").text
    submit(ken, "/animals/members/hana/unblock")
    assert ken.get("/animals/members/hana").status_code == 200


def test_the_settings_change_profile_picture_and_consent(ken, embedded):
    page = "/animals/settings"
    fields = {"csrf": csrf(ken, page), "display": "ケン", "about": "犬と\n猫"}
    response = ken.post(
        page, data=fields, files={"photo": ("me.png", make_picture(5), "image/png")}
    )
    assert response.status_code == 303
    with embedded.db.read() as db:
        member = db.query(Member).filter_by(name="ken").one()
        assert (member.display, member.about, member.events) == ("ケン", "犬と\n猫", False)
        assert member.photo is not None
    assert f"/animals/pictures/{member.photo}/list.jpg" in ken.get("/animals/members/ken").text
    ken.post(page, data={**fields, "events": "1", "remove_photo": "1"})
    with embedded.db.read() as db:
        member = db.query(Member).filter_by(name="ken").one()
        assert (member.photo, member.events) == (None, True)


def test_a_refused_form_keeps_what_was_typed(ken, mugi):
    fields = {
        "csrf": csrf(ken, "/animals/settings"),
        "display": "x" * 41,
        "about": "犬と暮らす",
        "events": "1",
    }
    response = ken.post("/animals/settings", data=fields)
    assert response.status_code == 400
    for text in ("A display name has 1 to 40 characters; found 41.", "x" * 41, "犬と暮らす"):
        assert text in response.text
    long_text = "これは" + "w" * 1_000
    response = ken.post(
        "/animals/report",
        data={
            "csrf": fields["csrf"],
            "subject": "post",
            "subject_id": str(mugi.id),
            "reason": "spam",
            "text": long_text,
        },
    )
    assert response.status_code == 400
    assert long_text in response.text
    assert 'value="spam" required checked' in response.text
    response_without_reason = ken.post(
        "/animals/report",
        data={
            "csrf": fields["csrf"],
            "subject": "post",
            "subject_id": str(mugi.id),
            "text": "見て",
        },
    )
    assert (response_without_reason.status_code, "見て" in response_without_reason.text) == (
        400,
        True,
    )


def test_notifications_are_described_and_marked_as_read(ken, mugi, app, embedded):
    submit(ken, f"/animals/posts/{mugi.id}/like")
    submit(ken, f"/animals/posts/{mugi.id}/comments", text="かわいい", key="k")
    submit(ken, "/animals/members/hana/follow")
    hana = signed_in(app, "hana")
    page = hana.get("/animals/notifications").text
    for text in (
        "Ken likes your photo",
        "Ken commented on your photo",
        "かわいい",
        "Ken follows you",
        'class="unread-count">3',
    ):
        assert text in page
    submit(hana, "/animals/notifications/read")
    page = hana.get("/animals/notifications").text
    assert 'class="unread-count"' not in page and 'class="unread"' not in page


def test_signing_up_makes_a_member(app, mugi):
    new_browser = visitor(app)
    fields = {
        "name": "new",
        "display": "新人",
        "password": "a password for tests",
        "again": "a password for tests",
    }
    assert (
        new_browser.post(
            "/sign-up",
            data={**fields, "csrf": csrf(new_browser, "/sign-up"), "next": "/animals/newest"},
        ).status_code
        == 303
    )
    assert new_browser.get("/animals/me").headers["location"] == "/animals/members/new"
    assert f"/animals/posts/{mugi.id}/like" in new_browser.get("/animals/newest").text


def test_the_first_write_of_an_account_makes_it_a_member(app, embedded, mugi):
    make_person(embedded, "new", ("member", None))
    new_browser = signed_in(app, "new")
    assert new_browser.get("/animals/me").headers["location"] == "/animals/join"
    assert new_browser.get("/animals").status_code == 200
    assert submit(new_browser, f"/animals/posts/{mugi.id}/like").status_code == 303
    assert new_browser.get("/animals/me").headers["location"] == "/animals/members/new"


def test_a_moderator_may_become_a_member(app, embedded):
    make_staff(embedded, "mod", "moderator")
    mod = signed_in(app, "mod")
    assert "Create my profile" in mod.get("/animals/join").text
    assert submit(mod, "/animals/join").headers["location"] == "/animals/me"
    assert mod.get("/animals/me").headers["location"] == "/animals/members/mod"


def test_a_banned_member_reads_but_may_not_write(app, ken, mugi, embedded):
    with embedded.db.write() as db:
        member = db.query(Member).filter_by(name="ken").one()
        member.banned_at, member.ban_reason = NOW, "spam"
    assert "You are banned" in ken.get("/animals/members/ken").text
    assert ken.get(f"/animals/posts/{mugi.id}").status_code == 200
    response = submit(ken, f"/animals/posts/{mugi.id}/like")
    assert response.status_code == 403 and "Moderators have banned you" in response.text


def test_a_form_without_csrf_token_or_session_is_refused(app, ken, mugi):
    for path in (
        f"/animals/posts/{mugi.id}/like",
        "/animals/members/hana/follow",
        "/animals/delete-account",
        "/animals/settings",
        "/animals/post",
    ):
        assert ken.post(path, data={"display": "x", "key": "k"}).status_code == 403, path
        anonymous = visitor(app)
        assert (
            anonymous.post(path, data={"csrf": csrf(anonymous, "/animals")}).status_code == 303
        ), path


def test_account_deletion_needs_the_password_and_ends_the_session(app, ken, embedded):
    refusal = submit(ken, "/animals/delete-account", password="wrong", confirmed="1")
    assert refusal.status_code == 400 and "The password is not right." in refusal.text
    assert (
        "Please tick the box"
        in submit(ken, "/animals/delete-account", password="a password for tests").text
    )
    deletion = submit(
        ken, "/animals/delete-account", password="a password for tests", confirmed="1"
    )
    assert deletion.headers["location"] == "/animals/account-deleted"
    assert "Your account is deleted" in ken.get("/animals/account-deleted").text
    assert ken.get("/animals/settings").status_code == 303
    assert visitor(app).get("/animals/members/ken").status_code == 404


def test_the_data_export_is_private(ken, mugi):
    answer = submit(ken, "/animals/data/export.zip")
    assert answer.headers["content-type"] == "application/zip" and answer.content.startswith(b"PK")
    assert answer.headers["cache-control"] == "private, no-store"
    assert "ai-animals-ken.zip" in answer.headers["content-disposition"]
