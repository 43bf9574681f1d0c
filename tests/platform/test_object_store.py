"""Bytes under a key: one contract on a folder and on S3."""

from datetime import UTC, datetime, timedelta

import pytest

from tanuki.errors import NotFound
from tanuki.platform.object_store import ObjectStore


@pytest.fixture(params=["folder", "s3"])
def objects(request, tmp_path) -> ObjectStore:
    if request.param == "s3":
        return ObjectStore(**request.getfixturevalue("s3"))
    return ObjectStore(str(tmp_path / "objects"))


def test_what_was_put_is_got(objects):
    objects.put("a/b.bin", b"\x00rex")
    assert objects.get("a/b.bin") == b"\x00rex"
    assert objects.exists("a/b.bin")


def test_a_second_put_replaces_the_first(objects):
    objects.put("a", b"old, and longer")
    objects.put("a", b"new")
    assert objects.get("a") == b"new"


def test_what_is_not_there_is_not_found(objects):
    with pytest.raises(NotFound, match="There is no object nothing"):
        objects.get("nothing")
    assert not objects.exists("nothing")
    objects.delete("nothing")


def test_a_deleted_object_is_gone(objects):
    objects.put("a", b"x")
    objects.delete("a")
    assert not objects.exists("a")


def test_keys_are_listed_by_folder_in_order(objects):
    for key in ("f/2", "f/1", "f/deep/3", "g/4"):
        objects.put(key, b"x")
    assert objects.list_keys("f") == ["f/1", "f/2", "f/deep/3"]
    assert objects.list_keys("nowhere") == []


def test_what_another_process_put_is_seen(objects):
    other = ObjectStore(objects.url, objects.endpoint, objects.key, objects.secret)
    objects.put("f/1", b"x")
    assert objects.list_keys("f") == ["f/1"]
    assert not objects.exists("f/2")
    other.put("f/2", b"x")
    assert objects.list_keys("f") == ["f/1", "f/2"]
    assert objects.exists("f/2")


def test_the_moment_of_a_put_is_known(objects):
    objects.put("a", b"x")
    assert abs(datetime.now(UTC) - objects.load_modified_at("a")) < timedelta(minutes=2)


def test_a_put_that_dies_leaves_what_was_there(tmp_path):
    objects = ObjectStore(str(tmp_path))
    objects.put("a", b"whole")
    (tmp_path / ".a.half").write_bytes(b"ha")
    assert objects.get("a") == b"whole"
    assert objects.list_keys() == ["a"]
