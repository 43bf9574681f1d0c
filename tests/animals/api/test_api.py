"""The API from a post to its appeal; errors are problem details."""

import io

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from tanuki.animals import post_review
from tanuki.animals import web as animals_web
from tanuki.animals.tables import Post
from tanuki.platform import resources as resources_file
from tanuki.platform.event_log import Event
from tanuki.platform.web import app as web
from tests.factories import members_and_posts
from tests.factories.http_clients import bearer, visitor

API = "/api/animals"


@pytest.fixture
def site(resources):
    resources_file.set_process_resources(resources)
    for name in ("hana", "taro"):
        members_and_posts.make_member(resources, name)
    for name in ("mona", "saki"):
        members_and_posts.make_staff(resources, name)
    return ApiClients(resources, web.create_app(resources, [animals_web.SYSTEM]))


class ApiClients:
    """The site, and an API client for each person."""

    def __init__(self, resources, app):
        self.res, self.app, self.visitor = resources, app, visitor(app)
        self.hana, self.taro = (bearer(resources, app, name) for name in ("hana", "taro"))
        self.mona, self.saki = (
            bearer(resources, app, name, scopes=("read", "write", "moderate"))
            for name in ("mona", "saki")
        )

    def send_post(self, client: TestClient, key="k1", seed=1, **values):
        form = {
            "title": "昼寝する柴犬",
            "category": "dog",
            "breed": "shiba",
            "tags": ["犬", "nap"],
            **values,
        }
        files = {"photo": ("a.jpg", io.BytesIO(members_and_posts.make_picture(seed)), "image/jpeg")}
        return client.post(f"{API}/posts", data=form, files=files, headers={"Idempotency-Key": key})

    def publish_post(self, client=None, **values):
        post = self.send_post(client or self.hana, **values).json()
        with self.res.db.write() as db:
            post_review.run_checks(db, post["id"], now=members_and_posts.NOW)
        return post["id"]


def expect_problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()) == {"type", "title", "status", "detail", "instance", "request_id"}
    return response.json()["detail"]


def test_a_post_is_created_once_and_visible_to_others_when_published(site):
    response, repeated_response = site.send_post(site.hana), site.send_post(site.hana)
    assert (response.status_code, repeated_response.status_code) == (201, 201)
    assert response.json() == repeated_response.json()
    post = response.json()
    assert (post["state"], post["member"], post["tags"], post["breed"]) == (
        "checking",
        "hana",
        ["犬", "nap"],
        "shiba",
    )
    assert response.headers["location"] == f"{API}/posts/{post['id']}"
    assert response.headers["ratelimit"].startswith('"posts";r=59')
    expect_problem(site.visitor.get(response.headers["location"]), 404)
    assert site.hana.get(response.headers["location"]).status_code == 200
    with site.res.db.write() as db:
        assert post_review.run_checks(db, post["id"], now=members_and_posts.NOW) == "published"
    assert site.visitor.get(f"{API}/posts").json()["items"][0]["id"] == post["id"]
    assert site.visitor.get(post["picture"]["urls"]["list"]).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("query", ["柴犬", "犬", "しば", "shiba", "dog"])
def test_a_search_finds_a_post_in_both_languages(site, query):
    post_id = site.publish_post()
    results = site.visitor.get(f"{API}/search", params={"q": query}).json()
    assert [item["post"]["id"] for item in results["items"]] == [post_id]
    assert "".join(part["text"] for part in results["items"][0]["title"]) == "昼寝する柴犬"


def test_an_unchanged_post_is_answered_304(site):
    path = f"{API}/posts/{site.publish_post()}"
    tag = site.visitor.get(path).headers["etag"]
    assert site.visitor.get(path, headers={"If-None-Match": tag}).status_code == 304
    site.taro.put(f"{path}/like")
    assert site.visitor.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_likes_comments_and_follows(site):
    path = f"{API}/posts/{site.publish_post()}"
    assert (
        site.taro.put(f"{path}/like").json()
        == site.taro.put(f"{path}/like").json()
        == {"liked": True, "likes": 1}
    )
    assert [item["name"] for item in site.visitor.get(f"{path}/likes").json()["items"]] == ["taro"]
    response = site.taro.post(
        f"{path}/comments", json={"text": "<b>かわいい</b>"}, headers={"Idempotency-Key": "c"}
    )
    assert response.status_code == 201
    assert site.visitor.get(f"{path}/comments").json()["items"][0]["text"] == "<b>かわいい</b>"
    assert site.taro.put(f"{API}/members/hana/follow").json()["followers"] == 1
    assert [
        item["name"] for item in site.visitor.get(f"{API}/members/hana/followers").json()["items"]
    ] == ["taro"]
    assert [item["kind"] for item in site.hana.get(f"{API}/me/notifications").json()["items"]] == [
        "follow",
        "comment",
        "like",
    ]
    feed = site.taro.get(f"{API}/feed").json()
    assert [(item["post"]["followed"], item["source"]) for item in feed["items"]] == [
        (True, "following")
    ]
    assert site.taro.delete(f"{path}/like").json() == {"liked": False, "likes": 0}
    assert site.taro.delete(f"{API}/comments/{response.json()['id']}").json()["state"] == "deleted"
    site.hana.post(f"{API}/me/notifications/read")
    assert site.hana.get(f"{API}/me").json()["unseen"] == 0


def test_a_post_is_updated_deleted_and_restored(site):
    path = f"{API}/posts/{site.publish_post()}"
    changes = {"version": 1, "title": "起きた柴犬", "category": "dog"}
    assert site.hana.patch(path, json=changes).json()["version"] == 2
    expect_problem(site.hana.patch(path, json=changes | {"title": "x"}), 409)
    expect_problem(site.taro.patch(path, json=changes), 404)
    assert site.hana.delete(path).json()["state"] == "deleted"
    expect_problem(site.visitor.get(path), 404)
    assert site.hana.post(f"{path}/undo").json()["state"] == "published"


def test_report_decision_appeal_and_audit_log(site):
    post_id = site.publish_post()
    report = {"subject": "post", "subject_id": post_id, "reason": "stolen", "text": "mine"}
    case_id = site.taro.post(f"{API}/reports", json=report).json()["case_id"]
    expect_problem(site.hana.get(f"{API}/moderation/cases"), 403)
    case = site.mona.get(f"{API}/moderation/cases/{case_id}").json()
    assert (case["post"]["id"], case["report_details"][0]["text"], case["possible_actions"][0]) == (
        post_id,
        "mine",
        "keep",
    )
    response = site.mona.post(
        f"{API}/moderation/cases/{case_id}/decision",
        json={"action": "remove", "reason": "stolen", "note": "盗用"},
    )
    assert response.status_code == 201
    expect_problem(site.visitor.get(f"{API}/posts/{post_id}"), 404)
    own_decisions = site.hana.get(f"{API}/me/decisions").json()["items"]
    assert [(item["action"], item["note"], item["decided_by"]) for item in own_decisions] == [
        ("remove", "盗用", None)
    ]
    appeal = site.hana.post(
        f"{API}/decisions/{own_decisions[0]['id']}/appeal", json={"text": "私の犬です"}
    ).json()
    answer = {"overturn": True, "text": "見直しました"}
    expect_problem(
        site.mona.post(f"{API}/moderation/appeals/{appeal['id']}/answer", json=answer), 403
    )
    assert (
        site.saki.post(f"{API}/moderation/appeals/{appeal['id']}/answer", json=answer).json()[
            "state"
        ]
        == "overturned"
    )
    assert site.visitor.get(f"{API}/posts/{post_id}").json()["state"] == "published"
    entries = site.mona.get(
        f"{API}/moderation/audit-log", params={"target": f"post:{post_id}"}
    ).json()
    assert [entry["action"] for entry in entries] == ["restore", "overturned", "appeal", "remove"]
    assert site.mona.get(f"{API}/moderation/audit-log/integrity").json() == {
        "first_altered_id": None
    }


def test_a_token_without_the_scope_neither_writes_nor_moderates(site):
    post_id = site.publish_post()
    reader = bearer(site.res, site.app, "taro", scopes=("read",))
    expect_problem(reader.put(f"{API}/posts/{post_id}/like"), 403)
    assert reader.get(f"{API}/posts/{post_id}").status_code == 200
    writer = bearer(site.res, site.app, "mona", scopes=("read", "write"))
    expect_problem(writer.get(f"{API}/moderation/cases"), 403)


def test_visitors_read_but_do_not_write(site):
    post_id = site.publish_post()
    expect_problem(site.visitor.get(f"{API}/me"), 401)
    assert site.visitor.put(f"{API}/posts/{post_id}/like").status_code in (401, 403)
    assert site.visitor.get(f"{API}/categories").json()[0]["name"] == {"ja": "猫", "en": "Cats"}
    assert (
        site.visitor.get(f"{API}/autocomplete", params={"q": "しば"}).json()[0]["code"] == "shiba"
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"title": " "}, "A title has 1 to 80"),
        ({"category": "dragon"}, "There is no category dragon"),
        ({"breed": "persian"}, "There is no breed persian"),
    ],
)
def test_invalid_post_fields_get_an_error_message(site, values, sentence):
    assert sentence in expect_problem(site.send_post(site.hana, **values), 400)
    with site.res.db.read() as db:
        assert db.query(Post).count() == 0


def test_invalid_photos_keys_and_cursors_are_refused(site):
    files = {"photo": ("a.jpg", io.BytesIO(b"GIF89a"), "image/jpeg")}
    form = {"title": "x", "category": "cat"}
    expect_problem(
        site.hana.post(f"{API}/posts", data=form, files=files, headers={"Idempotency-Key": "k"}),
        400,
    )
    expect_problem(site.hana.post(f"{API}/posts", data=form, files=files), 422)
    expect_problem(site.hana.get(f"{API}/posts/999"), 404)
    expect_problem(site.hana.get(f"{API}/posts", params={"after": "x"}), 400)


def test_events_are_logged_with_consent_only(site):
    post_id = site.publish_post()
    request = site.taro.get(f"{API}/feed").json()["request_id"]
    body = [
        {"kind": "open", "post": post_id, "request": request, "position": 0},
        {"kind": "dwell", "post": post_id, "ms": 1500},
    ]
    assert site.taro.post(f"{API}/events", json=body).json() == {"stored": 2}
    assert site.taro.post(f"{API}/events", json=body, headers={"DNT": "1"}).json() == {"stored": 0}
    site.taro.patch(f"{API}/me", json={"events": False})
    assert site.taro.post(f"{API}/events", json=body).json() == {"stored": 0}
    expect_problem(site.taro.post(f"{API}/events", json=[{"kind": "slept", "post": post_id}]), 422)
    site.res.events.close()
    with site.res.db.read() as db:
        kinds = [
            kind
            for (kind,) in db.execute(
                select(Event.kind)
                .where(Event.values["request"].as_string() == request)
                .order_by(Event.kind)
            )
        ]
    assert kinds == ["impression", "open", "request"]


def test_a_member_is_muted_blocked_and_unblocked(site):
    site.publish_post()
    assert site.taro.put(f"{API}/me/blocks/hana", json={"kind": "mute"}).status_code == 204
    assert site.taro.get(f"{API}/posts").json()["items"] == []
    assert [block["kind"] for block in site.taro.get(f"{API}/me/blocks").json()] == ["mute"]
    site.taro.put(f"{API}/me/blocks/hana", json={"kind": "block"})
    expect_problem(site.hana.get(f"{API}/members/taro"), 404)
    assert site.taro.delete(f"{API}/me/blocks/hana").status_code == 204
    assert len(site.taro.get(f"{API}/posts").json()["items"]) == 1


def test_a_profile_picture_is_set_replaced_and_removed(site):
    def upload_picture(content):
        return site.hana.put(
            f"{API}/me/picture", files={"photo": ("me.jpg", io.BytesIO(content), "image/jpeg")}
        )

    first_picture, second_picture = (
        upload_picture(members_and_posts.make_picture(5)).json()["picture"],
        upload_picture(members_and_posts.make_picture(6)).json()["picture"],
    )
    assert first_picture != second_picture
    assert site.visitor.get(f"{API}/members/hana").json()["picture"] == second_picture
    assert "not a picture" in expect_problem(upload_picture(b"no picture at all"), 400)
    assert site.visitor.get(f"{API}/members/hana").json()["picture"] == second_picture
    assert site.hana.delete(f"{API}/me/picture").json()["picture"] is None
    assert site.visitor.get(f"{API}/members/hana").json()["picture"] is None


def test_the_data_export_is_a_zip_file(site):
    site.publish_post()
    response = site.hana.get(f"{API}/me/export")
    assert response.headers["content-type"] == "application/zip"
    assert response.content[:2] == b"PK"
