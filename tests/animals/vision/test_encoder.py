"""The image encoder: its weights, its graph and numbers, measurements, the subject's name."""

import io
import json
import pickle

import imagehash
import numpy as np
import onnx
import pytest
from bench.lib.damaged_images import draw_photo
from onnx import TensorProto, helper
from PIL import Image, ImageDraw, ImageFilter

from tanuki.animals.taxonomy import BREEDS, CATEGORIES
from tanuki.animals.vision import encoder, labels, onnx_export, torch_weights
from tanuki.animals.vision.embeddings import identify_subject
from tanuki.animals.vision.encoder import EncoderOutput
from tanuki.errors import UserError
from tanuki.platform.mlops.runtimes import OnnxRunner
from tests.factories.members_and_posts import make_picture

REFERENCE_SCORES = [(885, 0.26394), (782, 0.05556), (714, 0.02227), (818, 0.01782)]
REFERENCE_EMBEDDING = [
    -0.15551,
    0.01363,
    -0.16588,
    -0.16939,
    0.06911,
    0.07143,
    0.03596,
    0.10576,
    0.00474,
    -0.01822,
    -0.0175,
    0.07543,
]


class BuiltEncoder:
    """A built version, run in this process."""

    def __init__(self, folder):
        self.said = json.loads((folder / "model.json").read_text())
        self.runner = OnnxRunner(folder, self.said)

    def infer(self, inputs):
        return self.runner.run(inputs)


@pytest.fixture(scope="module")
def built_encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    encoder.build_encoder(folder)
    return BuiltEncoder(folder)


def draw_reference_image(size=224):
    """A picture that is equal on every machine: waves of colour, as bytes."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64) / size
    bands = [np.sin(9 * x + 4 * y), np.cos(7 * y - 3 * x), np.sin(20 * x * y)]
    return np.stack([np.round(127.5 + 127 * band) for band in bands], axis=-1).astype(np.uint8)


def encode_jpeg(image, quality=90):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def draw_scene(width=640, height=480, seed=3):
    return Image.open(io.BytesIO(make_picture(seed, width, height)))


# ---- weights and graph -------------------------------------------------------------------------


def test_the_graph_gives_the_reference_output(built_encoder):
    output = built_encoder.infer({"image": draw_reference_image()[None]})
    best = np.argsort(-output["scores"][0])[:4]
    assert [int(n) for n in best] == [n for n, _ in REFERENCE_SCORES]
    assert output["scores"][0][best] == pytest.approx(
        [share for _, share in REFERENCE_SCORES], abs=2e-4
    )
    assert output["embedding"][0][:12] == pytest.approx(REFERENCE_EMBEDDING, abs=2e-4)


def convolve(x, weight, stride):
    """A naive convolution, channels first, padded as TensorFlow does."""
    side = weight.shape[-1]
    padding = [max((-(-n // stride) - 1) * stride + side - n, 0) for n in x.shape[1:]]
    x = np.pad(x, [(0, 0), *((width // 2, width - width // 2) for width in padding)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[
        :, ::stride, ::stride
    ]
    if weight.shape[1] == 1:
        return np.einsum("cyxab,cab->cyx", windows, weight[:, 0])
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4]))


def compute_features_naively(image):
    """EfficientNet-Lite0 step by step in numpy, with its batch norms as they were trained."""
    weights = torch_weights.load_weights(torch_weights.find_package_weights())

    def layer(x, name, norm, stride=1, relu=True):
        x = convolve(x, weights[f"{name}.weight"], stride)
        mean, variance, scale, bias = (
            weights[f"{norm}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / np.sqrt(variance + 1e-3) * scale + bias
        return np.clip(x, 0, 6) if relu else x

    x = layer((image.astype(np.float32).transpose(2, 0, 1) - 127) / 128, "_conv_stem", "_bn0", 2)
    number = 0
    for repeats, stride in ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)):
        for repeat in range(repeats):
            prefix, block_input = f"_blocks.{number}.", x
            if number:
                x = layer(x, f"{prefix}_expand_conv", f"{prefix}_bn0")
            x = layer(x, f"{prefix}_depthwise_conv", f"{prefix}_bn1", 1 if repeat else stride)
            x = layer(x, f"{prefix}_project_conv", f"{prefix}_bn2", relu=False)
            x = x + block_input if repeat else x
            number += 1
    return layer(x, "_conv_head", "_bn1").mean(axis=(1, 2)), weights


def test_the_graph_agrees_with_a_naive_computation(built_encoder):
    features, weights = compute_features_naively(draw_reference_image())
    logits = weights["_fc.weight"] @ features + weights["_fc.bias"]
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    output = built_encoder.infer({"image": draw_reference_image()[None]})
    assert np.abs(output["scores"][0] - scores).max() < 1e-4
    expected = np.sqrt(features) @ onnx_export.compute_projection(
        weights, onnx_export.EMBEDDING_DIMENSION
    )
    assert np.abs(output["embedding"][0] - expected / np.linalg.norm(expected)).max() < 1e-4


def test_a_tensor_is_read_by_its_strides():
    storage = np.arange(24, dtype="<f4")
    tensor = torch_weights.Tensor(
        torch_weights.Storage("0", "<f4"), 0, (2, 3, 2, 2), (12, 1, 6, 3)
    )  # channels last
    assert (
        torch_weights.extract_tensor(tensor, storage).tolist()
        == np.arange(24).reshape(2, 2, 2, 3).transpose(0, 3, 1, 2).tolist()
    )


def test_weights_with_other_pickle_content_are_refused(tmp_path):
    class Bad:
        def __reduce__(self):
            return print, ("run",)

    file = tmp_path / "bad.pth"
    file.write_bytes(pickle.dumps(Bad()))
    with pytest.raises(pickle.UnpicklingError, match="print"):
        torch_weights.load_weights(file)
    file.write_bytes(b"".join(pickle.dumps(value) for value in (1, 1001, {}, {}, [])))
    with pytest.raises(pickle.UnpicklingError, match="begin like weights"):
        torch_weights.load_weights(file)
    with pytest.raises(pickle.UnpicklingError, match="longer than its storage"):
        torch_weights.extract_tensor(
            torch_weights.Tensor(torch_weights.Storage("0", "<f4"), 2, (2, 2), (2, 1)),
            np.zeros(5, "<f4"),
        )


def test_outputs_are_normalised_and_independent_of_the_batch(
    built_encoder,
):
    images = np.stack(
        [
            draw_reference_image(),
            draw_reference_image()[::-1],
            draw_reference_image()[:, ::-1],
            np.zeros((224, 224, 3), np.uint8),
        ]
    )
    batch_output = built_encoder.infer({"image": images})
    assert batch_output["embedding"].shape == (4, onnx_export.EMBEDDING_DIMENSION)
    assert np.linalg.norm(batch_output["embedding"], axis=1) == pytest.approx(1, abs=1e-5)
    assert batch_output["scores"].sum(axis=1) == pytest.approx(1, abs=1e-4)
    single_outputs = np.concatenate(
        [built_encoder.infer({"image": image[None]})["embedding"] for image in images]
    )
    assert np.abs(batch_output["embedding"] - single_outputs).max() < 1e-4
    assert (
        built_encoder.infer({"image": images[:1]})["embedding"].tobytes()
        == built_encoder.infer({"image": images[:1]})["embedding"].tobytes()
    )


def test_the_projection_is_orthonormal_with_fixed_signs():
    weights = torch_weights.load_weights(torch_weights.find_package_weights())
    projection = onnx_export.compute_projection(weights, 32)
    assert projection.T @ projection == pytest.approx(np.eye(32), abs=1e-4)
    assert (projection[np.abs(projection).argmax(axis=0), np.arange(32)] > 0).all()


# ---- custom models -----------------------------------------------------------------------------


def make_custom_model(folder, *, logits=True, changes=None):
    """A custom model: the mean colour as features, and 1000 classes of it."""
    outputs = [helper.make_tensor_value_info("mean_pixels", TensorProto.FLOAT, ["n", 3])]
    nodes = [helper.make_node("ReduceMean", ["pixels"], ["mean_pixels"], axes=[2, 3], keepdims=0)]
    initializers = []
    if logits:
        nodes.append(helper.make_node("MatMul", ["mean_pixels", "w"], ["classes"]))
        initializers.append(onnx.numpy_helper.from_array(np.eye(3, 1000, dtype=np.float32), "w"))
        outputs.append(helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", 1000]))
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 32, 32])]
    model = helper.make_model(
        helper.make_graph(nodes, "mean", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    folder.mkdir(exist_ok=True)
    onnx.save(model, str(folder / "net.onnx"))
    description = {
        "name": "mean colour",
        "input": "pixels",
        "features": "mean_pixels",
        "size": 32,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    (folder / "model.json").write_text(
        json.dumps(description | ({"logits": "classes"} if logits else {}) | (changes or {}))
    )
    return folder / "net.onnx"


def test_a_custom_model_gets_images_in_its_own_scale(tmp_path):
    description = encoder.build_encoder(tmp_path / "built", make_custom_model(tmp_path / "theirs"))
    assert (description["name"], description["size"], description["dimension"]) == (
        "mean colour",
        32,
        3,
    )
    custom_encoder = BuiltEncoder(tmp_path / "built")
    red = Image.new("RGB", (64, 64), (255, 0, 0))
    [output] = encoder.encode_jpegs(custom_encoder, [encode_jpeg(red, 100)], side=32)
    assert output.embedding == pytest.approx(np.array([1, -1, -1]) / np.sqrt(3), abs=0.02)
    assert output.classes[0][0] == 0


def test_a_custom_model_without_classes_identifies_no_subject(tmp_path):
    encoder.build_encoder(tmp_path / "built", make_custom_model(tmp_path / "theirs", logits=False))
    [output] = encoder.encode_jpegs(BuiltEncoder(tmp_path / "built"), [make_picture(1)], side=32)
    assert (output.classes, output.animal_score) == ([], encoder.ANIMAL_SCORE_WITHOUT_CLASSES)
    assert identify_subject(output) is None
    assert 0 < output.lightness < 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": "nothing"}, "no input nothing"),
        ({"features": "nothing"}, "no output nothing"),
        ({"logits": "mean_pixels"}, "3 classes"),
        ({"colour": "red"}, "does not describe"),
        ({"mean": "red"}, "does not describe"),
    ],
)
def test_a_custom_model_unlike_its_description_is_refused(tmp_path, changes, reason):
    with pytest.raises(UserError, match=reason):
        encoder.build_encoder(
            tmp_path / "built", make_custom_model(tmp_path / "theirs", changes=changes)
        )


def test_a_file_that_is_no_model_is_refused(tmp_path):
    file = make_custom_model(tmp_path / "theirs")
    file.write_bytes(b"no network at all")
    with pytest.raises(UserError, match="is not a usable image model"):
        encoder.build_encoder(tmp_path / "built", file)
    file.with_name("model.json").unlink()
    with pytest.raises(UserError, match="does not describe"):
        encoder.build_encoder(tmp_path / "built", file)


# ---- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 72), (300, 900), (960, 640), (2048, 1365), (30, 4000)])
def test_an_image_of_any_size_is_cropped_to_its_central_square(size):
    image = Image.new("RGB", size, (200, 30, 30))
    pen = ImageDraw.Draw(image)
    pen.rectangle(
        (size[0] // 2 - 8, size[1] // 2 - 8, size[0] // 2 + 8, size[1] // 2 + 8), fill=(30, 200, 30)
    )
    prepared = encoder.prepare_image(encode_jpeg(image))
    assert (prepared.shape, prepared.dtype) == ((224, 224, 3), np.uint8)
    assert prepared[112, 112, 1] > 120
    assert prepared[2, 2, 0] > 120


def test_the_size_is_read_from_any_jpeg_header():
    for options in ({}, {"progressive": True}, {"exif": b"Exif\0\0" + b"\0" * 500}):
        stream = io.BytesIO()
        draw_scene(333, 222).save(stream, "JPEG", **options)
        assert encoder.read_jpeg_size(stream.getvalue()) == (333, 222)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xd8", b"GIF89a", b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x10\0\x10\x01"],
)
def test_a_file_that_is_no_jpeg_is_refused(content):
    with pytest.raises(UserError, match="whole JPEG"):
        encoder.prepare_image(content)


def test_lightness_sharpness_and_hash_measure_the_image(built_encoder):
    clear = draw_scene()
    dark, blurred = clear.point(lambda v: v // 5), clear.filter(ImageFilter.GaussianBlur(8))
    original, darker, softer = encoder.encode_jpegs(
        built_encoder, [encode_jpeg(image) for image in (clear, dark, blurred)]
    )
    assert darker.lightness < 0.3 * original.lightness
    assert softer.sharpness < 0.2 * original.sharpness
    assert all(len(output.phash) == 16 for output in (original, darker, softer))


@pytest.mark.parametrize("size", [(1, 2048), (2048, 2), (1, 1)])
def test_a_line_of_pixels_can_be_encoded(built_encoder, size):
    [output] = encoder.encode_jpegs(
        built_encoder, [encode_jpeg(Image.new("RGB", size, (10, 20, 30)))]
    )
    assert np.isfinite(output.embedding).all()
    assert (output.sharpness, output.lightness < 0.2) == (pytest.approx(0, abs=5), True)


def hash_distance(first, second):
    return bin(int(first.phash, 16) ^ int(second.phash, 16)).count("1")


def test_the_hash_agrees_with_imagehash():
    """Two bits of 64 may differ, because OpenCV reduces the picture and not Pillow."""
    distances = []
    for seed in range(30):
        image = draw_photo(seed, 320, 240)
        ours = int(encoder.compute_phash(np.asarray(image.convert("L"))), 16)
        distances.append(bin(ours ^ int(str(imagehash.phash(image)), 16)).count("1"))
    assert max(distances) <= 2
    assert distances.count(0) > 15


def test_the_hash_survives_saving_and_scaling_and_differs_between_images(built_encoder):
    image = draw_scene()
    original, saved, small, other_image = encoder.encode_jpegs(
        built_encoder,
        [
            encode_jpeg(image),
            encode_jpeg(image, 40),
            encode_jpeg(image.resize((200, 150))),
            encode_jpeg(draw_scene(seed=4)),
        ],
    )
    assert hash_distance(original, saved) <= 6
    assert hash_distance(original, small) <= 6
    assert hash_distance(original, other_image) > 12


# ---- labels and subjects -----------------------------------------------------------------------


def test_every_animal_class_has_a_category_and_names():
    all_labels = labels.imagenet_labels()
    assert len(all_labels) == labels.ANIMAL_CLASSES
    assert all(label.category in CATEGORIES and label.ja and label.en for label in all_labels)
    assert [
        label
        for label in all_labels
        if label.breed and BREEDS[label.breed].category != label.category
    ] == []
    assert [
        (all_labels[n].en, all_labels[n].category, all_labels[n].breed)
        for n in (1, 151, 258, 283, 292, 388)
    ] == [
        ("goldfish", "fish", "goldfish"),
        ("Chihuahua", "dog", "chihuahua"),
        ("Samoyed", "dog", "samoyed"),
        ("Persian", "cat", "persian"),
        ("tiger", "wild", "tiger"),
        ("giant panda", "wild", "panda"),
    ]
    assert len({label.en for label in all_labels}) == len(all_labels)


def make_output(*classes, animal=None):
    animal_share = sum(share for n, share in classes if n < labels.ANIMAL_CLASSES)
    return EncoderOutput(
        np.zeros(2, np.float32),
        list(classes),
        animal_share if animal is None else animal,
        0.5,
        100.0,
        "0" * 16,
    )


@pytest.mark.parametrize(
    ("classes", "animal", "expected"),
    [
        ([(258, 0.9)], None, ("dog", "samoyed", "Samoyed")),
        # Standard and miniature poodles have more than half of the sum.
        ([(265, 0.3), (266, 0.3), (267, 0.3)], None, ("dog", "poodle", "Poodle")),
        ([(187, 0.3), (192, 0.3), (195, 0.25)], None, ("dog", None, "Dogs")),
        ([(281, 0.35), (282, 0.3), (285, 0.2)], None, ("cat", "tabby", "Brown tabby")),
        ([(286, 0.8)], None, ("wild", None, "cougar")),
        ([(700, 0.9), (281, 0.05)], 0.08, None),
        ([(700, 0.9)], 0.1, None),
        ([(281, 0.1), (151, 0.09)], 0.19, None),
        ([], 0.5, None),
    ],
)
def test_shares_of_a_category_and_breed_are_summed(classes, animal, expected):
    subject = identify_subject(make_output(*classes, animal=animal))
    assert (subject and (subject.category, subject.breed, subject.en)) == expected
    assert subject is None or 0.3 <= subject.confidence <= 1


def test_the_confidence_is_scaled_from_the_top_classes():
    subject = identify_subject(make_output((187, 0.2), (192, 0.2), (281, 0.1), animal=0.95))
    assert subject.category == "dog"
    assert subject.confidence == pytest.approx(0.95 * 0.8)
