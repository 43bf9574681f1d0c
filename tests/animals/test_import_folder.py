"""A folder of photos becomes posts: each once, what is no picture gets its sentence, what was begun goes on."""

import csv

import pytest
from sqlalchemy import select

from tanuki.animals.import_folder import import_photos
from tanuki.animals.tables import Post
from tanuki.errors import UserError
from tests.factories import members_and_posts


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "photos"
    (made / "more").mkdir(parents=True)
    for n, name in enumerate(("shiba_1.jpg", "more/ねこ.jpg", "boat.jpeg")):
        (made / name).write_bytes(members_and_posts.make_picture(n))
    (made / "note.txt").write_text("not a photo")
    return made


def posts_of(res):
    with res.db.read() as db:
        return list(db.scalars(select(Post).order_by(Post.source)))


def test_each_file_is_a_post_once_and_its_name_says_what_it_is(resources, folder):
    hana = members_and_posts.make_member(resources, "hana")
    assert (
        import_photos(resources, hana, folder).posted,
        import_photos(resources, hana, folder).already_posted,
    ) == (3, 3)
    assert [
        (post.source, post.title, post.category, post.breed) for post in posts_of(resources)
    ] == [
        ("boat.jpeg", "boat", "other", None),
        ("more/ねこ.jpg", "ねこ", "cat", None),
        ("shiba_1.jpg", "shiba 1", "dog", "shiba"),
    ]
    assert {post.state for post in posts_of(resources)} == {"checking"}


def test_what_was_interrupted_goes_on(embedded, folder):
    hana = members_and_posts.make_member(embedded, "hana")

    def stop(done, whole):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_photos(embedded, hana, folder, progress=stop)
    done = import_photos(embedded, hana, folder)
    assert (done.already_posted, done.posted) == (2, 1)
    assert len(posts_of(embedded)) == 3


def test_what_is_no_picture_is_refused_by_itself(embedded, folder):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = import_photos(embedded, members_and_posts.make_member(embedded, "hana"), folder)
    assert done.posted == 3
    assert [name for name, _ in done.refused] == ["broken.jpg"]
    assert isinstance(done.refused[0][1], UserError)


def test_the_same_picture_under_two_names_is_one_post(embedded, folder):
    (folder / "zz.jpg").write_bytes(members_and_posts.make_picture(0))
    done = import_photos(embedded, members_and_posts.make_member(embedded, "hana"), folder)
    assert (done.posted, done.already_posted) == (3, 1)


def manifest(tmp_path, rows):
    file = tmp_path / "manifest.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows(rows)
    return file


def test_a_manifest_gives_the_words(embedded, folder, tmp_path):
    rows = [
        ["file", "title", "tags", "category", "breed", "kind"],
        ["shiba_1.jpg", "昼寝", "犬、nap", "dog", "shiba", "animal"],
        ["boat.jpeg", "", "", "", "", ""],
    ]
    import_photos(
        embedded, members_and_posts.make_member(embedded, "hana"), folder, manifest(tmp_path, rows)
    )
    boat, dog = posts_of(embedded)
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
def test_a_wrong_manifest_gets_a_sentence_and_nothing_is_posted(
    embedded, folder, tmp_path, rows, sentence
):
    with pytest.raises(UserError, match=sentence):
        import_photos(
            embedded,
            members_and_posts.make_member(embedded, "hana"),
            folder,
            manifest(tmp_path, rows),
        )
    assert posts_of(embedded) == []


def test_an_empty_folder_gets_a_sentence(embedded, tmp_path):
    with pytest.raises(UserError, match="There are no photos"):
        import_photos(embedded, members_and_posts.make_member(embedded, "hana"), tmp_path)
