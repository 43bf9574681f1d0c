"""The model server as clients see it: tritonclient over HTTP and gRPC, plain JSON, our own."""

import json
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from tanuki.app import bootstrap
from tanuki.errors import NotFound, UserError
from tanuki.platform.database.engine import Base, Database
from tanuki.platform.mlops.registry import Registry
from tanuki.platform.mlops.runtimes import ModelError
from tanuki.platform.object_store import ObjectStore
from tanuki.platform.serving import client, grpc_server, oip_json, oip_protobuf
from tanuki.platform.serving import rest_server as http_server
from tanuki.settings import Settings
from tests.factories.onnx_models import MODEL_NAME, ModelHost, row_inputs, write_onnx_model

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Server:
    """A model server on free loopback ports."""

    def __init__(self, models, port: int = 0) -> None:
        import uvicorn

        self.grpc, grpc_port = grpc_server.create_server(models, "127.0.0.1:0")
        self.grpc.start()
        self.uvicorn = uvicorn.Server(
            uvicorn.Config(
                http_server.create_app(models), host="127.0.0.1", port=port, log_config=None
            )
        )
        self.thread = threading.Thread(target=self.uvicorn.run, daemon=True)
        self.thread.start()
        while not self.uvicorn.started:
            time.sleep(0.01)
        port = self.uvicorn.servers[0].sockets[0].getsockname()[1]
        self.http, self.grpc_address = f"127.0.0.1:{port}", f"127.0.0.1:{grpc_port}"

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(10)
        self.grpc.stop(5).wait()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    database = Database(f"sqlite:///{folder / 'tanuki.db'}")
    Base.metadata.create_all(database.engine)
    host = ModelHost(database, folder)
    host.write_version("1", scale=1.0)
    host.write_version("2", scale=2.0)
    host.set_rollout("1", "2", mode="canary", share=0.5)
    yield host
    database.close()


@pytest.fixture(scope="module")
def server(place):
    models = place.start_models()
    model_server = Server(models)
    yield model_server
    model_server.stop()
    models.close()


@pytest.fixture(params=["http", "grpc"])
def triton(request, server):
    """tritonclient's module and a client, over both ways."""
    if request.param == "http":
        import tritonclient.http as module

        triton_client = module.InferenceServerClient(server.http)
    else:
        import tritonclient.grpc as module

        triton_client = module.InferenceServerClient(server.grpc_address)
    yield module, triton_client
    triton_client.close()


def tensor(module, array, *, binary: bool = True):
    infer_input = module.InferInput("x", list(array.shape), "FP32")
    if module.__name__.endswith("http"):
        infer_input.set_data_from_numpy(array, binary_data=binary)
    else:
        infer_input.set_data_from_numpy(array)
    return infer_input


def test_tritonclient_lists_and_checks(triton):
    module, triton_client = triton
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready(MODEL_NAME)
    assert triton_client.is_model_ready(MODEL_NAME, "2")
    assert not triton_client.is_model_ready("nobody")
    told = [
        triton_client.get_model_repository_index(),
        triton_client.get_server_metadata(),
        triton_client.get_model_metadata(MODEL_NAME),
        triton_client.get_model_config(MODEL_NAME),
    ]
    if module.__name__.endswith("http"):
        index, about, metadata, config = told
    else:
        index = [
            {"name": model.name, "version": model.version, "state": model.state}
            for model in told[0].models
        ]
        about = {"name": told[1].name, "extensions": list(told[1].extensions)}
        metadata = {
            "inputs": [
                {"name": t.name, "datatype": t.datatype, "shape": list(t.shape)}
                for t in told[2].inputs
            ],
            "versions": list(told[2].versions),
        }
        config = {
            "max_batch_size": told[3].config.max_batch_size,
            "input": [{"dims": list(t.dims)} for t in told[3].config.input],
        }
        assert told[3].config.input[0].data_type == 11  # TYPE_FP32
    assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [
        (MODEL_NAME, "1", "READY"),
        (MODEL_NAME, "2", "READY"),
    ]
    assert about["name"] == "tanuki"
    assert "binary_tensor_data" in about["extensions"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert metadata["versions"] == ["1", "2"]
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (8, [3])


@pytest.mark.parametrize("outputs", [None, ["scores"]])
def test_tritonclient_infers_with_binary_tensors(triton, outputs):
    module, triton_client = triton
    asked = None if outputs is None else [module.InferRequestedOutput(output) for output in outputs]
    for version, factor in (("1", 12), ("2", 24)):
        found = triton_client.infer(
            MODEL_NAME,
            [tensor(module, row_inputs(1, 2)["x"])],
            model_version=version,
            outputs=asked,
            request_id="abc",
        )
        assert found.as_numpy("scores").shape == (2, 3)
        if outputs is None:
            np.testing.assert_allclose(found.as_numpy("y")[:, 0], [factor, 2 * factor])
        else:
            assert found.as_numpy("y") is None
        response = found.get_response()
        version_said = (
            response["model_version"] if isinstance(response, dict) else response.model_version
        )
        assert version_said == version
        assert (response["id"] if isinstance(response, dict) else response.id) == "abc"


def test_tritonclient_may_send_json_and_is_told_json(server):
    import tritonclient.http as module

    triton_client = module.InferenceServerClient(server.http)
    found = triton_client.infer(
        MODEL_NAME,
        [tensor(module, row_inputs(3)["x"], binary=False)],
        model_version="1",
        outputs=[module.InferRequestedOutput("y", binary_data=False)],
    )
    assert found.as_numpy("y").tolist() == [[36, 45, 54]]
    triton_client.close()


def test_tritonclient_reads_statistics(triton):
    module, triton_client = triton
    triton_client.infer(MODEL_NAME, [tensor(module, row_inputs(1)["x"])], model_version="1")
    told = triton_client.get_inference_statistics(MODEL_NAME, "1")
    if module.__name__.endswith("http"):
        (line,) = told["model_stats"]
        assert line["inference_stats"]["success"]["count"] >= 1
        assert (
            line["inference_stats"]["success"]["ns"]
            > line["inference_stats"]["compute_infer"]["ns"]
            > 0
        )
    else:
        assert told.model_stats[0].inference_stats.success.count >= 1


def test_a_person_of_a_canary_is_told_by_a_parameter(triton):
    module, triton_client = triton
    seen = {}
    for person in ("ann", "bob", "cem", "dai", "eve", "fay"):
        versions = set()
        for _ in range(3):
            response = triton_client.infer(
                MODEL_NAME, [tensor(module, row_inputs(1)["x"])], parameters={"person": person}
            ).get_response()
            versions.add(
                response["model_version"] if isinstance(response, dict) else response.model_version
            )
        (seen[person],) = versions
    assert set(seen.values()) == {"1", "2"}


def test_tritonclient_is_told_what_is_wrong(triton):
    from tritonclient.utils import InferenceServerException

    module, triton_client = triton
    grpc = module.__name__.endswith("grpc")
    wrong = [
        (
            "nobody",
            "",
            row_inputs(1)["x"],
            None,
            "no model nobody",
            ("404", "StatusCode.NOT_FOUND"),
        ),
        (
            MODEL_NAME,
            "9",
            row_inputs(1)["x"],
            None,
            "no version 9",
            ("404", "StatusCode.NOT_FOUND"),
        ),
        (
            MODEL_NAME,
            "1",
            np.zeros((1, 4), np.float32),
            None,
            "expected FP32 [-1, 3]",
            ("400", "StatusCode.INVALID_ARGUMENT"),
        ),
        (
            MODEL_NAME,
            "1",
            row_inputs(1)["x"],
            ["nothing"],
            "no output nothing; expected y, scores",
            ("400", "StatusCode.INVALID_ARGUMENT"),
        ),
    ]
    for model, version, array, outputs, says, codes in wrong:
        asked = (
            None if outputs is None else [module.InferRequestedOutput(output) for output in outputs]
        )
        with pytest.raises(InferenceServerException) as refused:
            triton_client.infer(
                model, [tensor(module, array)], model_version=version, outputs=asked
            )
        assert says in refused.value.message(), refused.value
        if grpc:
            assert refused.value.status() == codes[1]
        else:
            assert codes[0] in str(refused.value.status())
    with pytest.raises(InferenceServerException):
        triton_client.get_model_metadata("nobody")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_our_own_client_is_told_the_same(server, scheme):
    ours = client.connect_model_server(
        f"{scheme}://{server.http if scheme == 'http' else server.grpc_address}"
    )
    assert ours.live()
    assert ours.ready(MODEL_NAME)
    assert not ours.ready("nobody")
    assert ours.metadata(MODEL_NAME)["outputs"][0]["name"] == "y"
    answer = ours.infer(MODEL_NAME, row_inputs(1), version="2")
    assert (answer.version, answer.served_as, answer.outputs["y"].tolist()) == (
        "2",
        "version",
        [[24, 30, 36]],
    )
    assert {ours.infer(MODEL_NAME, row_inputs(1), person=f"p{n}").served_as for n in range(20)} == {
        "champion",
        "challenger",
    }
    with pytest.raises(NotFound, match="no model nobody"):
        ours.infer("nobody", row_inputs(1))
    with pytest.raises(UserError, match=r"expected FP32 \[-1, 3\]") as refused:
        ours.infer(MODEL_NAME, {"x": np.zeros((1, 4), np.float32)})
    assert refused.value.status == 400
    ours.close()


def test_a_server_that_is_not_there_is_said_so():
    for url in ("http://127.0.0.1:9", "grpc://127.0.0.1:9"):
        nowhere = client.connect_model_server(url)
        assert not nowhere.live()
        with pytest.raises(ModelError, match="does not answer"):
            nowhere.infer(MODEL_NAME, row_inputs(1), seconds=2)
        nowhere.close()
    with pytest.raises(UserError, match="not the address of a model server"):
        client.connect_model_server("ftp://x")


def send(
    server, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict]:
    """Status and JSON of a plain request."""
    asked = urllib.request.Request(f"http://{server.http}{path}", data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def test_the_protocol_in_plain_json(server):
    assert send(server, "/v2")[1]["name"] == "tanuki"
    assert send(server, "/v2/health/live")[0] == 200
    assert send(server, "/v2/health/ready")[0] == 200
    assert send(server, f"/v2/models/{MODEL_NAME}/versions/1/ready")[0] == 200
    asked = {
        "id": "7",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [[1, 2, 3]]}],
        "outputs": [{"name": "y"}],
    }
    status, told = send(
        server, f"/v2/models/{MODEL_NAME}/versions/1/infer", json.dumps(asked).encode()
    )
    assert status == 200
    assert (told["id"], told["model_name"], told["model_version"], told["parameters"]) == (
        "7",
        MODEL_NAME,
        "1",
        {"served_as": "version"},
    )
    assert told["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [30, 36, 42]}
    ]


@pytest.mark.parametrize(
    ("body", "header", "says"),
    [
        (b"no", None, "is not JSON"),
        (b"[]", None, "not a JSON object"),
        (b"{}", None, "has no inputs"),
        (b'{"inputs": [{"datatype": "FP32"}]}', None, "has no name"),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP99", "shape": [1]}]}',
            None,
            "has the type FP99; expected one of BOOL",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}]}',
            None,
            "has the shape [-1]",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1]}]}',
            None,
            "are not FP32 [2]",
        ),
        (
            b'{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [999]}]}',
            None,
            "are not INT8 [1]",
        ),
        (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}', None, "has no data"),
        (
            b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], '
            b'"parameters": {"binary_data_size": 4}}]}',
            None,
            "4 bytes; 0 are left",
        ),
        (b'{"inputs": []}xxxx', "14", "4 bytes after its JSON; its tensors need 0"),
        (b'{"inputs": []}', "99", "expected the length of the JSON part"),
        (b'{"inputs": [], "outputs": 5}', None, "outputs are not a list"),
        (b'{"inputs": [], "parameters": 5}', None, "parameters are not an object"),
    ],
)
def test_a_request_that_is_none_is_answered_with_a_sentence(server, body, header, says):
    status, told = send(
        server,
        f"/v2/models/{MODEL_NAME}/infer",
        body,
        {oip_json.HEADER_LENGTH: header} if header else {},
    )
    assert status == 400
    assert says in told["error"]


def test_other_paths_and_methods_are_not_there(server):
    assert send(server, "/v2/nothing") == (404, {"error": "There is no GET /v2/nothing."})
    assert send(server, f"/v2/models/{MODEL_NAME}/infer")[0] == 404


def test_words_and_every_type_go_there_and_back():
    arrays = {
        "words": np.array([["ねこ".encode(), b"\x00\xff", b""]], object),
        "half": np.array([1.5], np.float16),
        "yes": np.array([[True], [False]]),
        "long": np.array([2**63 - 1, -(2**63)]),
        "none": np.zeros((0, 4), np.float32),
        "one": np.array(7, np.int32),
    }
    again = oip_json.unpack_tensors(oip_json.pack_tensors(arrays))
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert again[name].shape == array.shape
        assert (again[name] == array).all()
    request = oip_protobuf.import_messages().ModelInferRequest()
    oip_protobuf.add_tensors(request.inputs, request.raw_input_contents, arrays)
    received = type(request).FromString(request.SerializeToString())
    tensors = oip_protobuf.read_tensors(received.inputs, received.raw_input_contents)
    for name, array in tensors.items():
        assert (array == arrays[name]).all()


def test_every_method_that_grpc_answers_is_the_protocols():
    messages = oip_protobuf.import_messages()
    (service,) = messages.DESCRIPTOR.services_by_name.values()
    assert service.full_name == grpc_server.SERVICE
    assert set(grpc_server.METHODS) <= set(service.methods_by_name.keys())


def test_numbers_for_prometheus(server):
    with urllib.request.urlopen(f"http://{server.http}/metrics") as answer:
        text = answer.read().decode()
    assert (
        'tanuki_inferences_total{model="m",outcome="answered",role="version",version="1"}' in text
    )
    assert 'tanuki_model_serving{model="m",role="challenger"} 2.0' in text
    assert "tanuki_inference_batch_rows_bucket" in text


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_setting_names_the_server_that_answers(server, scheme, tmp_path):
    address = f"{scheme}://{server.http if scheme == 'http' else server.grpc_address}"
    res = bootstrap.create_resources(Settings(home=tmp_path, model_server=address))
    assert res.models.ready(MODEL_NAME)
    assert res.models.infer(MODEL_NAME, row_inputs(1), version="1").outputs["y"].tolist() == [
        [12, 15, 18]
    ]
    res.models.refresh()
    bootstrap.close_resources(res)


def test_a_server_that_began_anew_is_found_again(place):
    models = place.start_models()
    first = Server(models)
    ours = client.connect_model_server(f"http://{first.http}")
    assert ours.infer(MODEL_NAME, row_inputs(1), version="1").version == "1"
    port = int(first.http.split(":")[1])
    first.stop()
    with pytest.raises(ModelError, match="does not answer"):
        ours.infer(MODEL_NAME, row_inputs(1), version="1")
    second = Server(models, port)
    assert ours.infer(MODEL_NAME, row_inputs(1), version="1").version == "1"
    ours.close()
    second.stop()


def test_versions_on_s3_are_copied_once(s3, tmp_path):
    files = ObjectStore(s3["url"], s3["endpoint"], s3["key"], s3["secret"])
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", files)
    for file in write_onnx_model(tmp_path / "made").iterdir():
        files.put(f"m/1/{file.name}", file.read_bytes())
    for _ in range(2):
        runner = registry.load_runner("m/1", tmp_path / "cache")
        assert runner.run(row_inputs(1))["y"].shape == (1, 3)
        (tmp_path / "cache" / "m" / "1" / "note").write_text("the copy is used again")
    assert sorted(file.name for file in (tmp_path / "cache" / "m" / "1").iterdir()) == [
        "model.json",
        "model.onnx",
        "note",
    ]
