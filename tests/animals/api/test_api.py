"""The network for programs: what a program sends and gets, from a post to its appeal; problems are problem details."""

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
def net(resources):
    resources_file.set_process_resources(resources)
    for name in ("hana", "taro"):
        members_and_posts.member(resources, name)
    for name in ("mona", "saki"):
        members_and_posts.staff(resources, name)
    return Net(resources, web.create_app(resources, [animals_web.SYSTEM]))


class Net:
    """The site, and programs of its people."""

    def __init__(self, resources, app):
        self.res, self.app, self.anybody = resources, app, visitor(app)
        self.hana, self.taro = (bearer(resources, app, name) for name in ("hana", "taro"))
        self.mona, self.saki = (
            bearer(resources, app, name, scopes=("read", "write", "moderate"))
            for name in ("mona", "saki")
        )

    def send(self, who: TestClient, key="k1", seed=1, **words):
        form = {
            "title": "昼寝する柴犬",
            "category": "dog",
            "breed": "shiba",
            "tags": ["犬", "nap"],
            **words,
        }
        files = {"photo": ("a.jpg", io.BytesIO(members_and_posts.picture(seed)), "image/jpeg")}
        return who.post(f"{API}/posts", data=form, files=files, headers={"Idempotency-Key": key})

    def published(self, who=None, **words):
        made = self.send(who or self.hana, **words).json()
        with self.res.db.write() as db:
            post_review.run_checks(db, made["id"], now=members_and_posts.NOW)
        return made["id"]


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail", "instance", "request_id"}
    return answer.json()["detail"]


def test_a_post_is_sent_once_and_seen_by_others_when_it_is_published(net):
    first, again = net.send(net.hana), net.send(net.hana)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    made = first.json()
    assert (made["state"], made["member"], made["tags"], made["breed"]) == (
        "checking",
        "hana",
        ["犬", "nap"],
        "shiba",
    )
    assert first.headers["location"] == f"{API}/posts/{made['id']}"
    assert first.headers["ratelimit"].startswith('"posts";r=59')
    problem(net.anybody.get(first.headers["location"]), 404)
    assert net.hana.get(first.headers["location"]).status_code == 200
    with net.res.db.write() as db:
        assert post_review.run_checks(db, made["id"], now=members_and_posts.NOW) == "published"
    assert net.anybody.get(f"{API}/posts").json()["items"][0]["id"] == made["id"]
    assert net.anybody.get(made["picture"]["urls"]["list"]).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("query", ["柴犬", "犬", "しば", "shiba", "dog"])
def test_it_is_found_in_both_languages(net, query):
    post_id = net.published()
    found = net.anybody.get(f"{API}/search", params={"q": query}).json()
    assert [each["post"]["id"] for each in found["items"]] == [post_id]
    assert "".join(part["text"] for part in found["items"][0]["title"]) == "昼寝する柴犬"


def test_what_was_read_is_not_sent_again(net):
    path = f"{API}/posts/{net.published()}"
    tag = net.anybody.get(path).headers["etag"]
    assert net.anybody.get(path, headers={"If-None-Match": tag}).status_code == 304
    net.taro.put(f"{path}/like")
    assert net.anybody.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_likes_comments_and_follows(net):
    path = f"{API}/posts/{net.published()}"
    assert (
        net.taro.put(f"{path}/like").json()
        == net.taro.put(f"{path}/like").json()
        == {"liked": True, "likes": 1}
    )
    assert [each["name"] for each in net.anybody.get(f"{path}/likes").json()["items"]] == ["taro"]
    said = net.taro.post(
        f"{path}/comments", json={"text": "<b>かわいい</b>"}, headers={"Idempotency-Key": "c"}
    )
    assert said.status_code == 201
    assert net.anybody.get(f"{path}/comments").json()["items"][0]["text"] == "<b>かわいい</b>"
    assert net.taro.put(f"{API}/members/hana/follow").json()["followers"] == 1
    assert [
        each["name"] for each in net.anybody.get(f"{API}/members/hana/followers").json()["items"]
    ] == ["taro"]
    assert [each["kind"] for each in net.hana.get(f"{API}/me/notifications").json()["items"]] == [
        "follow",
        "comment",
        "like",
    ]
    feed = net.taro.get(f"{API}/feed").json()
    assert [(each["post"]["followed"], each["source"]) for each in feed["items"]] == [
        (True, "following")
    ]
    assert net.taro.delete(f"{path}/like").json() == {"liked": False, "likes": 0}
    assert net.taro.delete(f"{API}/comments/{said.json()['id']}").json()["state"] == "deleted"
    net.hana.post(f"{API}/me/notifications/read")
    assert net.hana.get(f"{API}/me").json()["unseen"] == 0


def test_a_post_is_changed_deleted_and_brought_back(net):
    path = f"{API}/posts/{net.published()}"
    words = {"version": 1, "title": "起きた柴犬", "category": "dog"}
    assert net.hana.patch(path, json=words).json()["version"] == 2
    problem(net.hana.patch(path, json=words | {"title": "x"}), 409)
    problem(net.taro.patch(path, json=words), 404)
    assert net.hana.delete(path).json()["state"] == "deleted"
    problem(net.anybody.get(path), 404)
    assert net.hana.post(f"{path}/undo").json()["state"] == "published"


def test_a_report_a_decision_an_appeal_and_the_trail(net):
    post_id = net.published()
    given = {"subject": "post", "subject_id": post_id, "reason": "stolen", "text": "mine"}
    case_id = net.taro.post(f"{API}/reports", json=given).json()["case_id"]
    problem(net.hana.get(f"{API}/moderation/cases"), 403)
    case = net.mona.get(f"{API}/moderation/cases/{case_id}").json()
    assert (case["post"]["id"], case["report_details"][0]["text"], case["possible_actions"][0]) == (
        post_id,
        "mine",
        "keep",
    )
    decided = net.mona.post(
        f"{API}/moderation/cases/{case_id}/decision",
        json={"action": "remove", "reason": "stolen", "note": "盗用"},
    )
    assert decided.status_code == 201
    problem(net.anybody.get(f"{API}/posts/{post_id}"), 404)
    mine = net.hana.get(f"{API}/me/decisions").json()["items"]
    assert [(each["action"], each["note"], each["decided_by"]) for each in mine] == [
        ("remove", "盗用", None)
    ]
    appeal = net.hana.post(
        f"{API}/decisions/{mine[0]['id']}/appeal", json={"text": "私の犬です"}
    ).json()
    answer = {"overturn": True, "text": "見直しました"}
    problem(net.mona.post(f"{API}/moderation/appeals/{appeal['id']}/answer", json=answer), 403)
    assert (
        net.saki.post(f"{API}/moderation/appeals/{appeal['id']}/answer", json=answer).json()[
            "state"
        ]
        == "overturned"
    )
    assert net.anybody.get(f"{API}/posts/{post_id}").json()["state"] == "published"
    entries = net.mona.get(
        f"{API}/moderation/audit-log", params={"target": f"post:{post_id}"}
    ).json()
    assert [entry["action"] for entry in entries] == ["restore", "overturned", "appeal", "remove"]
    assert net.mona.get(f"{API}/moderation/audit-log/integrity").json() == {"first_altered_id": None}


def test_a_token_without_the_scope_neither_writes_nor_moderates(net):
    post_id = net.published()
    reader = bearer(net.res, net.app, "taro", scopes=("read",))
    problem(reader.put(f"{API}/posts/{post_id}/like"), 403)
    assert reader.get(f"{API}/posts/{post_id}").status_code == 200
    writer = bearer(net.res, net.app, "mona", scopes=("read", "write"))
    problem(writer.get(f"{API}/moderation/cases"), 403)


def test_strangers_read_but_do_not_write(net):
    post_id = net.published()
    problem(net.anybody.get(f"{API}/me"), 401)
    assert net.anybody.put(f"{API}/posts/{post_id}/like").status_code in (401, 403)
    assert net.anybody.get(f"{API}/categories").json()[0]["name"] == {"ja": "猫", "en": "Cats"}
    assert net.anybody.get(f"{API}/autocomplete", params={"q": "しば"}).json()[0]["code"] == "shiba"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"title": " "}, "A title has 1 to 80"),
        ({"category": "dragon"}, "There is no category dragon"),
        ({"breed": "persian"}, "There is no breed persian"),
    ],
)
def test_words_that_cannot_be_posted_get_a_sentence(net, words, sentence):
    assert sentence in problem(net.send(net.hana, **words), 400)
    with net.res.db.read() as db:
        assert db.query(Post).count() == 0


def test_what_is_no_picture_gets_a_sentence_and_a_missing_key_too(net):
    files = {"photo": ("a.jpg", io.BytesIO(b"GIF89a"), "image/jpeg")}
    form = {"title": "x", "category": "cat"}
    problem(
        net.hana.post(f"{API}/posts", data=form, files=files, headers={"Idempotency-Key": "k"}), 400
    )
    problem(net.hana.post(f"{API}/posts", data=form, files=files), 422)
    problem(net.hana.get(f"{API}/posts/999"), 404)
    problem(net.hana.get(f"{API}/posts", params={"after": "x"}), 400)


def test_what_is_shown_and_seen_is_logged_unless_one_does_not_want_it(net):
    post_id = net.published()
    request = net.taro.get(f"{API}/feed").json()["request_id"]
    told = [
        {"kind": "open", "post": post_id, "request": request, "position": 0},
        {"kind": "dwell", "post": post_id, "ms": 1500},
    ]
    assert net.taro.post(f"{API}/events", json=told).json() == {"stored": 2}
    assert net.taro.post(f"{API}/events", json=told, headers={"DNT": "1"}).json() == {"stored": 0}
    net.taro.patch(f"{API}/me", json={"events": False})
    assert net.taro.post(f"{API}/events", json=told).json() == {"stored": 0}
    problem(net.taro.post(f"{API}/events", json=[{"kind": "slept", "post": post_id}]), 422)
    net.res.events.close()
    with net.res.db.read() as db:
        kinds = [
            kind
            for (kind,) in db.execute(
                select(Event.kind)
                .where(Event.values["request"].as_string() == request)
                .order_by(Event.kind)
            )
        ]
    assert kinds == ["impression", "open", "request"]


def test_one_is_muted_blocked_and_let_back(net):
    net.published()
    assert net.taro.put(f"{API}/me/blocks/hana", json={"kind": "mute"}).status_code == 204
    assert net.taro.get(f"{API}/posts").json()["items"] == []
    assert [each["kind"] for each in net.taro.get(f"{API}/me/blocks").json()] == ["mute"]
    net.taro.put(f"{API}/me/blocks/hana", json={"kind": "block"})
    problem(net.hana.get(f"{API}/members/taro"), 404)
    assert net.taro.delete(f"{API}/me/blocks/hana").status_code == 204
    assert len(net.taro.get(f"{API}/posts").json()["items"]) == 1


def test_ones_profile_gets_a_picture_another_one_and_none(net):
    def put(content):
        return net.hana.put(
            f"{API}/me/picture", files={"photo": ("me.jpg", io.BytesIO(content), "image/jpeg")}
        )

    first, second = (
        put(members_and_posts.picture(5)).json()["picture"],
        put(members_and_posts.picture(6)).json()["picture"],
    )
    assert first != second
    assert net.anybody.get(f"{API}/members/hana").json()["picture"] == second
    assert "not a picture" in problem(put(b"no picture at all"), 400)
    assert net.anybody.get(f"{API}/members/hana").json()["picture"] == second
    assert net.hana.delete(f"{API}/me/picture").json()["picture"] is None
    assert net.anybody.get(f"{API}/members/hana").json()["picture"] is None


def test_one_takes_ones_data_along(net):
    net.published()
    answer = net.hana.get(f"{API}/me/export")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.content[:2] == b"PK"
