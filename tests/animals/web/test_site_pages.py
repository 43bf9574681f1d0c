"""Reading the site: pages in both languages, visibility, escaping, picture caching."""

import json
import re

import pytest

from tanuki.animals import engagement, members
from tanuki.animals.images import photo_files
from tanuki.animals.tables import Post
from tests.factories.http_clients import csrf, signed_in, visitor
from tests.factories.members_and_posts import NOW, make_member, make_post, make_staff

HOSTILE_TEXT = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
PUBLIC_PAGES = [
    "/animals",
    "/animals/newest",
    "/animals/categories/cat",
    "/animals/credits",
    "/animals/offline",
    "/animals/account-deleted",
]
OWN_PAGES = [
    "/animals/post",
    "/animals/notifications",
    "/animals/settings",
    "/animals/blocks",
    "/animals/data",
]


@pytest.fixture
def site(embedded):
    """hana with a post, ken who likes and comments on it, mika whom hana blocks, a moderator."""
    hana, ken, mika = (make_member(embedded, name) for name in ("hana", "ken", "mika"))
    make_staff(embedded, "mod", "moderator")
    post = make_post(embedded, hana, title="Mugi", tags=("sun",))
    with embedded.db.write() as db:
        engagement.like_post(db, ken, post.id, now=NOW)
        engagement.follow_member(db, ken, "hana", now=NOW)
        engagement.add_comment(db, ken, post.id, "What a face", key="c", now=NOW)
        members.block_member(db, hana, "mika", "block", now=NOW)
    return {"post": post, "hana": hana, "ken": ken, "mika": mika}


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_page_opens_on_an_empty_site(app, embedded, lang):
    make_member(embedded, "hana")
    browser = signed_in(app, "hana")
    for path in [
        *PUBLIC_PAGES,
        *OWN_PAGES,
        "/animals/members/hana",
        "/animals/members/hana/followers",
        "/animals/members/hana/following",
    ]:
        answer = browser.get(path, headers={"Accept-Language": lang})
        assert answer.status_code == 200, path
        assert f'<html lang="{lang}"' in answer.text


def test_visitors_open_public_pages_and_are_asked_to_sign_in_for_others(app, site):
    browser, post = visitor(app), site["post"]
    for path in [
        *PUBLIC_PAGES,
        f"/animals/posts/{post.id}",
        f"/animals/posts/{post.id}/likes",
        "/animals/members/hana",
    ]:
        assert browser.get(path).status_code == 200, path
    for path in [*OWN_PAGES, f"/animals/posts/{post.id}/edit", "/animals/me"]:
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), path


def test_a_post_page_shows_text_likes_and_comments(app, site):
    page = signed_in(app, "ken").get(f"/animals/posts/{site['post'].id}").text
    for text in ("Mugi", "#sun", "@hana", "1 member likes this", "What a face", "Your comment"):
        assert text in page
    assert re.search(r"/unlike\" aria-pressed=\"true\"", page)
    assert "Ken" in visitor(app).get(f"/animals/posts/{site['post'].id}/likes").text


def test_cached_cards_are_never_stale_or_another_persons(app, embedded, site):
    post, ken, path = site["post"], signed_in(app, "ken"), "/animals/newest"
    like_pattern, count_pattern = (
        re.compile(r'aria-pressed="(\w+)" aria-label="Like Mugi'),
        re.compile(r"data-count>(\d+)<"),
    )
    for _ in range(2):  # the second time from the cache
        assert (
            like_pattern.findall(ken.get(path).text),
            count_pattern.findall(ken.get(path).text),
        ) == (
            ["true"],
            ["1"],
        )
        assert like_pattern.findall(signed_in(app, "hana").get(path).text) == ["false"]
        assert "/sign-in?next=%2Fanimals%2Fposts%2F" in visitor(app).get(path).text
        assert "Mugi" not in signed_in(app, "mika").get(path).text
    with embedded.db.write() as db:
        engagement.unlike_post(db, site["ken"], post.id, now=NOW)
        members.update_profile(
            db, site["hana"], members.ProfileChange(display="<b>Hana</b>"), now=NOW
        )
        db.get_one(Post, post.id).title = "Wheat"
    page = ken.get(path).text
    assert "Mugi" not in page and "&lt;b&gt;Hana&lt;/b&gt;" in page
    assert ('aria-label="Like Wheat"' in page, count_pattern.findall(page)) == (True, ["0"])


def test_the_navigation_depends_on_the_person_and_marks_the_page(app, site):
    staff_page, member_page = (
        signed_in(app, "mod").get("/animals/newest").text,
        signed_in(app, "ken").get("/animals/newest").text,
    )
    assert (
        "/animals/moderation" in staff_page,
        "/animals/moderation" in member_page,
        "/sign-out" in member_page,
    ) == (
        True,
        False,
        True,
    )
    browser = visitor(app)
    for path in ("/animals/newest", "/animals", "/animals/newest"):
        page = browser.get(path).text
        assert (
            "/sign-out" not in page and f'href="/sign-in?next={path.replace("/", "%2F")}"' in page
        )
        assert page.count('aria-current="page"') == 2  # in the navigation and in the categories
    answer = browser.post(
        "/theme", data={"theme": "dark", "next": "/animals", "csrf": csrf(browser, "/animals")}
    )
    assert answer.status_code == 303
    assert (
        'value="dark" title="Dark" aria-label="Dark" aria-pressed="true"'
        in browser.get("/animals").text
    )


def test_a_blocked_member_finds_nothing(app, site):
    mika, post = signed_in(app, "mika"), site["post"]
    assert mika.get(f"/animals/posts/{post.id}").status_code == 404
    assert mika.get(f"/animals/posts/{post.id}/likes").status_code == 404
    assert mika.get("/animals/members/hana").status_code == 404
    for path in ("/animals", "/animals/newest", "/animals/categories/cat"):
        assert "Mugi" not in mika.get(path).text
    unused_path = f"/animals/posts/{post.id + 99}"
    pages = [
        re.sub(r"[0-9a-f]{16,}", "", mika.get(path).text)
        for path in (f"/animals/posts/{post.id}", unused_path)
    ]
    assert re.sub(r"\d+", "", pages[0]) == re.sub(r"\d+", "", pages[1])


def test_a_moderator_who_is_no_member_opens_a_held_post(app, embedded, site):
    post = make_post(embedded, site["hana"], state="held", why="banned_word")
    page = signed_in(app, "mod").get(f"/animals/posts/{post.id}")
    assert page.status_code == 200 and "This post is held" not in page.text


def test_pages_of_lists_do_not_overlap(app, embedded):
    hana = make_member(embedded, "hana")
    all_posts = [make_post(embedded, hana, title=f"Photo {n}", seed=n % 3) for n in range(30)]
    browser = visitor(app)
    for start in (
        "/animals",
        "/animals/newest",
        "/animals/categories/cat",
        "/animals/members/hana",
    ):
        seen_ids, path = [], start
        while path:
            page = browser.get(path).text
            seen_ids += re.findall(r'data-post="(\d+)"', page)
            next_link = re.search(r'rel="next" href="([^"]+)"', page)
            path = next_link and next_link[1].replace("&amp;", "&")
        assert sorted(map(int, seen_ids)) == sorted(post.id for post in all_posts), start


def test_texts_of_members_are_escaped(app, embedded):
    hana = make_member(embedded, "hana")
    with embedded.db.write() as db:
        members.update_profile(
            db, hana, members.ProfileChange(display=HOSTILE_TEXT[:40], about=HOSTILE_TEXT), now=NOW
        )
    post = make_post(
        embedded, hana, title=HOSTILE_TEXT, description=HOSTILE_TEXT, tags=(HOSTILE_TEXT[:30],)
    )
    with embedded.db.write() as db:
        engagement.add_comment(db, hana, post.id, HOSTILE_TEXT, key="c", now=NOW)
    make_member(embedded, "ken")
    ken = signed_in(app, "ken")
    ken.post(
        f"/animals/posts/{post.id}/comments",
        data={"csrf": csrf(ken, "/animals/post"), "text": HOSTILE_TEXT, "key": "k"},
    )
    browser = signed_in(app, "hana")
    pages = [
        "/animals",
        "/animals/newest",
        f"/animals/posts/{post.id}",
        f"/animals/posts/{post.id}/edit",
        "/animals/members/hana",
    ]
    for path in [*pages, "/animals/notifications", "/animals/settings"]:
        text = browser.get(path).text
        assert "alert(1)" in text, path
        assert "<script>alert" not in text and "<img src=x" not in text, path


def test_no_page_needs_what_the_content_security_policy_forbids(app, site):
    browser = signed_in(app, "hana")
    for path in [
        *PUBLIC_PAGES,
        *OWN_PAGES,
        f"/animals/posts/{site['post'].id}",
        "/animals/members/hana",
    ]:
        text = browser.get(path).text
        assert not re.search(r"<[^>]+\s(style|on\w+)=", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path


# ---- pictures ----------------------------------------------------------------------------------


def test_only_public_pictures_are_cached(app, embedded, site):
    hana, ken, anonymous = signed_in(app, "hana"), signed_in(app, "ken"), visitor(app)
    public = f"/animals/pictures/{site['post'].photo}/page.jpg"
    for browser in (hana, ken, anonymous):
        answer = browser.get(public)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "image/jpeg" and answer.content.startswith(
            b"\xff\xd8"
        )
        again = browser.get(public, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for state in ("checking", "held", "removed", "deleted"):
        private = (
            f"/animals/pictures/{make_post(embedded, site['hana'], state=state).photo}/list.jpg"
        )
        assert hana.get(private).headers["cache-control"] == "private, no-store", state
        assert (ken.get(private).status_code, anonymous.get(private).status_code) == (404, 404), (
            state
        )
        assert signed_in(app, "mod").get(private).status_code == 200, state


def test_a_picture_has_three_sizes_and_no_other_name(app, site):
    browser, digest = visitor(app), site["post"].photo
    assert [
        browser.get(f"/animals/pictures/{digest}/{size}.jpg").status_code
        for size in photo_files.PHOTO_SIDES
    ] == [200] * 3
    for path in (
        f"{digest}/huge.jpg",
        f"{digest}/..%2f..%2fkey.jpg",
        f"{'0' * 64}/list.jpg",
        f"{digest}/list.png",
    ):
        assert browser.get(f"/animals/pictures/{path}").status_code == 404, path


# ---- an app on a phone -------------------------------------------------------------------------


def test_the_manifest_is_in_each_language_and_its_icons_exist(app):
    browser = visitor(app)
    for lang, name in {"en": "AI Animals", "ja": "AIアニマルズ"}.items():
        answer = browser.get(f"/animals/manifest.webmanifest?lang={lang}")
        assert answer.headers["content-type"] == "application/manifest+json"
        manifest = answer.json()
        assert (manifest["name"], manifest["scope"], manifest["display"]) == (
            name,
            "/animals",
            "standalone",
        )
        assert all(browser.get(icon["src"]).status_code == 200 for icon in manifest["icons"])
        assert {"192x192", "512x512", "any"} == {icon["sizes"] for icon in manifest["icons"]}


def test_the_service_worker_stores_existing_files_and_an_anonymous_page(app, embedded):
    make_member(embedded, "hana")
    browser = signed_in(app, "hana")
    answer = browser.get("/animals/service-worker.js?lang=ja")
    assert answer.headers["service-worker-allowed"] == "/animals"
    assert answer.headers["content-type"].startswith("text/javascript")
    files = json.loads(re.search(r"const FILES = (\[.*?\]);", answer.text)[1])
    assert files and all(browser.get(file).status_code == 200 for file in files)
    page = browser.get("/animals/offline?lang=ja").text
    assert "オフラインです" in page and "hana" not in page.lower() and "csrf" not in page
