"""Pictures are stored once under their digest, however often they come; and go when nothing has them any more."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from bench.lib.damaged_images import draw_photo, encode_image
from sqlalchemy import delete, func, select, update

from tanuki.animals.images import photo_files
from tanuki.animals.images.photo_files import CleanPhoto
from tanuki.animals.tables import Member, Photo
from tanuki.errors import NotFound
from tanuki.platform.accounts import Account
from tanuki.platform.database.engine import Database
from tanuki.platform.object_store import ObjectStore
from tests.factories.decoding import clean_image

NOW = datetime(2026, 5, 1, 9, 0, tzinfo=UTC)


@pytest.fixture
def objects(tmp_path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"))


@pytest.fixture(scope="module")
def accepted() -> CleanPhoto:
    return clean_image(encode_image(draw_photo(1, 120, 80), "png"))


def keep(database: Database, objects: ObjectStore, accepted: CleanPhoto) -> Photo:
    with database.write() as db:
        return photo_files.save_photo(db, objects, accepted, now=NOW)


def forget(database: Database, objects: ObjectStore, digest: str) -> bool:
    with database.write() as db:
        return photo_files.delete_unused_photo(db, objects, digest)


def rows(database: Database) -> int:
    with database.read() as db:
        return db.scalar(select(func.count()).select_from(Photo)) or 0


def test_a_picture_is_kept_once_in_every_size(database, objects, accepted):
    first = keep(database, objects, accepted)
    assert (first.digest, first.width, first.height, first.source, first.added_at) == (
        accepted.digest,
        120,
        80,
        "png",
        NOW,
    )
    assert first.bytes == len(accepted.files["full"])
    for size, file in accepted.files.items():
        assert objects.get(photo_files.object_key(accepted.digest, size)) == file
    again = keep(database, objects, accepted)
    assert again.digest == first.digest and rows(database) == 1
    assert len(objects.list_keys("animals/pictures")) == len(photo_files.PHOTO_SIDES)


def test_files_are_there_before_the_record_can_be_seen(database, objects, accepted):
    with pytest.raises(RuntimeError, match="lost"), database.write() as db:
        photo_files.save_photo(db, objects, accepted, now=NOW)
        raise RuntimeError("lost")
    assert rows(database) == 0
    assert objects.exists(photo_files.object_key(accepted.digest, "full"))
    keep(database, objects, accepted)
    assert rows(database) == 1


def test_the_same_picture_from_many_at_once_is_one(database, objects, accepted):
    start = threading.Barrier(6)
    kept, errors = [], []

    def come() -> None:
        start.wait()
        try:
            kept.append(keep(database, objects, accepted).digest)
        except RuntimeError as error:  # pragma: no cover
            errors.append(error)

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and kept == [accepted.digest] * 6
    assert rows(database) == 1


def test_what_nothing_uses_is_forgotten_with_its_files(database, objects, accepted):
    keep(database, objects, accepted)
    assert forget(database, objects, accepted.digest)
    assert rows(database) == 0 and objects.list_keys("animals/pictures") == []
    with pytest.raises(NotFound):
        objects.get(photo_files.object_key(accepted.digest, "full"))
    assert not forget(database, objects, accepted.digest)
    keep(database, objects, accepted)
    assert objects.exists(photo_files.object_key(accepted.digest, "list"))


def test_what_a_profile_uses_stays_until_it_does_not(database, objects, accepted):
    keep(database, objects, accepted)
    with database.write() as db:
        db.add(
            Account(
                name="ana",
                display_name="Ana",
                password_hash="x",
                password_changed_at=NOW,
                created_at=NOW,
                created_by="tests",
            )
        )
        db.flush()
        db.add(
            Member(name="ana", display="Ana", pseudonym="p", joined_at=NOW, photo=accepted.digest)
        )
    with database.read() as db:
        assert photo_files.find_unused_photos(db, before=NOW + timedelta(hours=1)) == []
    assert not forget(database, objects, accepted.digest)
    assert objects.exists(photo_files.object_key(accepted.digest, "full"))
    with database.write() as db:
        db.execute(update(Member).values(photo=None))
    with database.read() as db:
        assert photo_files.find_unused_photos(db, before=NOW) == []
        assert photo_files.find_unused_photos(db, before=NOW + timedelta(hours=1)) == [
            accepted.digest
        ]
    assert forget(database, objects, accepted.digest)


def test_a_forgetting_that_is_undone_leaves_what_keep_heals(database, objects, accepted):
    keep(database, objects, accepted)
    with pytest.raises(RuntimeError, match="lost"), database.write() as db:
        photo_files.delete_unused_photo(db, objects, accepted.digest)
        raise RuntimeError("lost")
    assert rows(database) == 1 and objects.list_keys("animals/pictures") == []
    keep(database, objects, accepted)
    assert objects.get(photo_files.object_key(accepted.digest, "page")) == accepted.files["page"]


def test_keeping_and_forgetting_at_once_never_leave_a_record_without_files(
    database, objects, accepted
):
    def often(do: object, times: int = 25) -> None:
        for _ in range(times):
            do(database, objects, accepted if do is keep else accepted.digest)  # type: ignore[operator]

    threads = [threading.Thread(target=often, args=(do,)) for do in (keep, forget, keep, forget)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = {
        size
        for size in photo_files.PHOTO_SIDES
        if objects.exists(photo_files.object_key(accepted.digest, size))
    }
    assert stored == (set(photo_files.PHOTO_SIDES) if rows(database) else set())
    with database.write() as db:
        db.execute(delete(Photo))


def test_pictures_live_on_s3_too(database, s3, accepted):
    objects = ObjectStore(s3["url"], s3["endpoint"], s3["key"], s3["secret"])
    keep(database, objects, accepted)
    assert objects.get(photo_files.object_key(accepted.digest, "list")) == accepted.files["list"]
    assert forget(database, objects, accepted.digest)
    assert objects.list_keys("animals/pictures") == []
