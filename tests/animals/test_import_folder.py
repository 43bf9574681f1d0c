"""Import of a photo folder: one post a file, invalid files, resuming, and the manifest."""

import csv

import pytest
from sqlalchemy import select

from tanuki.animals.import_folder import import_photos
from tanuki.animals.tables import Post
from tanuki.errors import UserError
from tests.factories import members_and_posts


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for n, name in enumerate(("shiba_1.jpg", "more/ねこ.jpg", "boat.jpeg")):
        (photos / name).write_bytes(members_and_posts.make_picture(n))
    (photos / "note.txt").write_text("not a photo")
    return photos


def load_posts(res):
    with res.db.read() as db:
        return list(db.scalars(select(Post).order_by(Post.source)))


def test_each_file_becomes_one_post_described_by_its_file_name(resources, folder):
    hana = members_and_posts.make_member(resources, "hana")
    assert (
        import_photos(resources, hana, folder).posted,
        import_photos(resources, hana, folder).already_posted,
    ) == (3, 3)
    assert [
        (post.source, post.title, post.category, post.breed) for post in load_posts(resources)
    ] == [
        ("boat.jpeg", "boat", "other", None),
        ("more/ねこ.jpg", "ねこ", "cat", None),
        ("shiba_1.jpg", "shiba 1", "dog", "shiba"),
    ]
    assert {post.state for post in load_posts(resources)} == {"checking"}


def test_an_interrupted_import_resumes(embedded, folder):
    hana = members_and_posts.make_member(embedded, "hana")

    def stop(done_count, _total):
        if done_count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_photos(embedded, hana, folder, progress=stop)
    result = import_photos(embedded, hana, folder)
    assert (result.already_posted, result.posted) == (2, 1)
    assert len(load_posts(embedded)) == 3


def test_a_broken_file_is_refused_and_the_others_are_imported(embedded, folder):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    result = import_photos(embedded, members_and_posts.make_member(embedded, "hana"), folder)
    assert result.posted == 3
    assert [name for name, _ in result.refused] == ["broken.jpg"]
    assert isinstance(result.refused[0][1], UserError)


def test_the_same_picture_under_two_names_is_one_post(embedded, folder):
    (folder / "zz.jpg").write_bytes(members_and_posts.make_picture(0))
    result = import_photos(embedded, members_and_posts.make_member(embedded, "hana"), folder)
    assert (result.posted, result.already_posted) == (3, 1)


def write_manifest(tmp_path, rows):
    file = tmp_path / "manifest.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file


def test_a_manifest_describes_the_posts(embedded, folder, tmp_path):
    rows = [
        ["file", "title", "tags", "category", "breed", "kind"],
        ["shiba_1.jpg", "昼寝", "犬、nap", "dog", "shiba", "animal"],
        ["boat.jpeg", "", "", "", "", ""],
    ]
    import_photos(
        embedded,
        members_and_posts.make_member(embedded, "hana"),
        folder,
        write_manifest(tmp_path, rows),
    )
    boat, dog = load_posts(embedded)
    assert (dog.title, dog.tags, dog.breed) == ("昼寝", ["犬", "nap"], "shiba")
    assert boat.title == "boat"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([["name"], ["x"]], "has no column `file`"),
        ([["file"], ["gone.jpg"]], "row 2: there is no gone.jpg"),
        ([["file"], ["../manifest.csv"]], "row 2: there is no ../manifest.csv"),
    ],
)
def test_an_invalid_manifest_is_refused_and_nothing_is_posted(
    embedded, folder, tmp_path, rows, sentence
):
    with pytest.raises(UserError, match=sentence):
        import_photos(
            embedded,
            members_and_posts.make_member(embedded, "hana"),
            folder,
            write_manifest(tmp_path, rows),
        )
    assert load_posts(embedded) == []


def test_an_empty_folder_is_refused(embedded, tmp_path):
    with pytest.raises(UserError, match="There are no photos"):
        import_photos(embedded, members_and_posts.make_member(embedded, "hana"), tmp_path)
