"""Photo files: stored once under their digest, and deleted when nothing uses them."""

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
def clean_photo() -> CleanPhoto:
    return clean_image(encode_image(draw_photo(1, 120, 80), "png"))


def save_photo(database: Database, objects: ObjectStore, clean_photo: CleanPhoto) -> Photo:
    with database.write() as db:
        return photo_files.save_photo(db, objects, clean_photo, now=NOW)


def delete_photo(database: Database, objects: ObjectStore, digest: str) -> bool:
    with database.write() as db:
        return photo_files.delete_unused_photo(db, objects, digest)


def count_photos(database: Database) -> int:
    with database.read() as db:
        return db.scalar(select(func.count()).select_from(Photo)) or 0


def test_a_photo_is_stored_once_in_every_size(database, objects, clean_photo):
    photo = save_photo(database, objects, clean_photo)
    assert (photo.digest, photo.width, photo.height, photo.source, photo.added_at) == (
        clean_photo.digest,
        120,
        80,
        "png",
        NOW,
    )
    assert photo.bytes == len(clean_photo.files["full"])
    for size, file in clean_photo.files.items():
        assert objects.get(photo_files.object_key(clean_photo.digest, size)) == file
    second_photo = save_photo(database, objects, clean_photo)
    assert second_photo.digest == photo.digest and count_photos(database) == 1
    assert len(objects.list_keys("animals/pictures")) == len(photo_files.PHOTO_SIDES)


def test_files_are_stored_before_the_row_is_committed(database, objects, clean_photo):
    with pytest.raises(RuntimeError, match="lost"), database.write() as db:
        photo_files.save_photo(db, objects, clean_photo, now=NOW)
        raise RuntimeError("lost")
    assert count_photos(database) == 0
    assert objects.exists(photo_files.object_key(clean_photo.digest, "full"))
    save_photo(database, objects, clean_photo)
    assert count_photos(database) == 1


def test_parallel_saves_of_one_photo_store_it_once(database, objects, clean_photo):
    barrier = threading.Barrier(6)
    digests, errors = [], []

    def save_at_once() -> None:
        barrier.wait()
        try:
            digests.append(save_photo(database, objects, clean_photo).digest)
        except RuntimeError as error:  # pragma: no cover
            errors.append(error)

    threads = [threading.Thread(target=save_at_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and digests == [clean_photo.digest] * 6
    assert count_photos(database) == 1


def test_an_unused_photo_is_deleted_with_its_files(database, objects, clean_photo):
    save_photo(database, objects, clean_photo)
    assert delete_photo(database, objects, clean_photo.digest)
    assert count_photos(database) == 0 and objects.list_keys("animals/pictures") == []
    with pytest.raises(NotFound):
        objects.get(photo_files.object_key(clean_photo.digest, "full"))
    assert not delete_photo(database, objects, clean_photo.digest)
    save_photo(database, objects, clean_photo)
    assert objects.exists(photo_files.object_key(clean_photo.digest, "list"))


def test_a_photo_of_a_profile_is_not_deleted(database, objects, clean_photo):
    save_photo(database, objects, clean_photo)
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
            Member(
                name="ana", display="Ana", pseudonym="p", joined_at=NOW, photo=clean_photo.digest
            )
        )
    with database.read() as db:
        assert photo_files.find_unused_photos(db, before=NOW + timedelta(hours=1)) == []
    assert not delete_photo(database, objects, clean_photo.digest)
    assert objects.exists(photo_files.object_key(clean_photo.digest, "full"))
    with database.write() as db:
        db.execute(update(Member).values(photo=None))
    with database.read() as db:
        assert photo_files.find_unused_photos(db, before=NOW) == []
        assert photo_files.find_unused_photos(db, before=NOW + timedelta(hours=1)) == [
            clean_photo.digest
        ]
    assert delete_photo(database, objects, clean_photo.digest)


def test_saving_restores_files_lost_by_a_failed_deletion(database, objects, clean_photo):
    save_photo(database, objects, clean_photo)
    with pytest.raises(RuntimeError, match="lost"), database.write() as db:
        photo_files.delete_unused_photo(db, objects, clean_photo.digest)
        raise RuntimeError("lost")
    assert count_photos(database) == 1 and objects.list_keys("animals/pictures") == []
    save_photo(database, objects, clean_photo)
    assert (
        objects.get(photo_files.object_key(clean_photo.digest, "page")) == clean_photo.files["page"]
    )


def test_parallel_saves_and_deletions_leave_no_row_without_files(database, objects, clean_photo):
    def repeat(action: object, count: int = 25) -> None:
        for _ in range(count):
            action(database, objects, clean_photo if action is save_photo else clean_photo.digest)  # type: ignore[operator]

    threads = [
        threading.Thread(target=repeat, args=(action,))
        for action in (save_photo, delete_photo, save_photo, delete_photo)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sizes = {
        size
        for size in photo_files.PHOTO_SIDES
        if objects.exists(photo_files.object_key(clean_photo.digest, size))
    }
    assert sizes == (set(photo_files.PHOTO_SIDES) if count_photos(database) else set())
    with database.write() as db:
        db.execute(delete(Photo))


def test_photos_can_be_stored_on_s3(database, s3, clean_photo):
    objects = ObjectStore(s3["url"], s3["endpoint"], s3["key"], s3["secret"])
    save_photo(database, objects, clean_photo)
    assert (
        objects.get(photo_files.object_key(clean_photo.digest, "list")) == clean_photo.files["list"]
    )
    assert delete_photo(database, objects, clean_photo.digest)
    assert objects.list_keys("animals/pictures") == []
