"""`quorate model`: looking at models, checking, quantising. Real files, and a chain only where one is measured on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from contracts import gas_budget
from coordinator.cli import measure, rows
from coordinator.cli.failures import ExitCode, Refusal
from models import zoo
from models.canonical import from_onnx, to_onnx
from models.program import compile_network, model_id
from models.stepwise import begin_gas, plan
from tests.coordinator.cli.conftest import Chain, Cli, write_wine
from tests.models.registry import constant_network

WINE = model_id(compile_network(zoo.load("wine-grading").network))


def float_model(path: Path, *, operator: str = "Relu") -> Path:
    """A float model 4 → 6 → 2 with the given operator between its layers."""
    rng = np.random.default_rng(7)
    shapes = {"w1": (4, 6), "b1": (6,), "w2": (6, 2), "b2": (2,)}
    weights = [numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name) for name, size in shapes.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
        helper.make_node(operator, ["h"], ["a"], name="between"),
        helper.make_node("Gemm", ["a", "w2", "b2"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def features(path: Path, header: str = "a,b,c,d") -> Path:
    values = np.random.default_rng(1).normal(size=(60, 4))
    np.savetxt(path, values, delimiter=",", header=header, comments="")
    return path


def test_the_zoo_is_listed_with_its_ids(cli: Cli) -> None:
    listed = {row["name"]: row["model_id"] for row in cli("model", "list", "--json").data}
    assert set(listed) == set(zoo.names())
    assert listed["wine-grading"] == "0x" + WINE.hex()


def test_a_model_is_found_by_name_file_and_id_alike(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(zoo.load("wine-grading").onnx_path.read_bytes())
    for named in ("wine-grading", file, "0x" + WINE.hex()):
        ran = cli("model", "check", named, "--json")
        assert ran.code == 0
        assert ran.data["model_id"] == "0x" + WINE.hex() and ran.data["runtime_agrees"] is True


def test_a_file_outside_the_canonical_form_is_refused_by_node_and_rule(cli: Cli, tmp_path: Path) -> None:
    ran = cli("model", "check", float_model(tmp_path / "float.onnx"))
    assert ran.code == ExitCode.BAD_INPUT and ran.out == ""
    assert f"error: {tmp_path / 'float.onnx'}: graph: input: the input must be uint8" in ran.err

    proto = to_onnx(zoo.load("wine-grading").network)
    changed = next(tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2)
    heavy = np.full_like(numpy_helper.to_array(changed), 64)
    changed.CopyFrom(numpy_helper.from_array(heavy, changed.name))
    path = tmp_path / "heavy.onnx"
    path.write_bytes(proto.SerializeToString())
    ran = cli("model", "check", path)
    assert ran.code == ExitCode.BAD_INPUT
    assert "weight-range" in ran.err and "layer 0" in ran.err


@pytest.mark.parametrize("content", [b"", b"\x00" * 10, b"not a model at all"])
def test_what_is_no_onnx_file_is_refused(cli: Cli, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    ran = cli("model", "check", path)
    assert ran.code == ExitCode.BAD_INPUT and f"{path}: file: parse" in ran.err


def test_an_unknown_name_is_answered_with_those_there_are(cli: Cli) -> None:
    ran = cli("model", "show", "beer-grading")
    assert ran.code == ExitCode.NOT_FOUND and "wine-grading" in ran.err


@pytest.mark.parametrize("named", ["0x12", "0x" + "zz" * 32, "0x" + "00" * 33])
def test_a_malformed_model_id_is_a_usage_error(cli: Cli, named: str) -> None:
    assert cli("model", "show", named).code == ExitCode.USAGE


def test_costs_are_measured_before_anybody_pays_and_without_a_network(cli: Cli) -> None:
    facts = cli("model", "show", "wine-grading", "--items", "178", "--json").data
    assert facts["registered"] is False
    assert 20_000 < facts["execution_gas"] < 40_000
    assert 250_000 < facts["registration_gas"] < 1_000_000
    least = gas_budget.min_seat_stake(facts["execution_gas"], 8, 13, int(facts["reference_price"]))
    assert facts["least_seat_stake"] == str(least)
    assert facts["macs"] == 976


def test_a_registered_model_shows_what_the_chain_measured(cli: Cli, network: Chain, wine_id: bytes) -> None:
    facts = cli("model", "show", "0x" + wine_id.hex(), "--items", "178", "--json").data
    assert facts["registered"] is True
    assert facts["execution_gas"] == network.contracts.registry.model(wine_id).execution_gas
    assert facts["least_seat_stake"] == str(network.contracts.oracle.min_seat_stake(wine_id, 178))


def test_an_id_that_nobody_registered_is_not_found(cli: Cli, network: Chain) -> None:
    ran = cli("model", "show", "0x" + "ab" * 32)
    assert ran.code == ExitCode.NOT_FOUND and "quorate model register" in ran.err


def test_the_program_is_disassembled_on_demand(cli: Cli, network: Chain, wine_id: bytes) -> None:
    listed = cli("model", "show", "wine-grading")
    assert "layer 2: logits 16 -> 3" in listed.out and "weights" not in listed.out
    ran = cli("model", "show", "wine-grading", "--disassemble")
    assert "layer 2: logits 16 -> 3" in ran.out and ran.out.count(" weights ") == 51
    assert "layer 2" in cli("model", "show", "wine-grading", "--disassemble", "--json").data["disassembly"]


def test_a_registered_model_is_not_registered_again(cli: Cli, network: Chain, wine_id: bytes, requester: str) -> None:
    before = network.nonce(0)
    ran = cli("model", "register", "wine-grading", "--json")
    assert (ran.code, ran.data["gas"], network.nonce(0)) == (0, 0, before)


def test_a_float_model_becomes_a_canonical_one_with_a_card_that_jobs_can_use(cli: Cli, tmp_path: Path) -> None:
    calibration, output = features(tmp_path / "rows.csv"), tmp_path / "made.onnx"
    ran = cli(
        "model", "quantize", float_model(tmp_path / "f.onnx"), "--calibration", calibration, "-o", output, "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.data["agreement_with_float"] > 0.9
    network = from_onnx(output)
    assert ran.data["model_id"] == "0x" + model_id(compile_network(network)).hex()
    card = zoo.read_card(output.with_suffix(".card.json"))
    assert card.scaling.features == ("a", "b", "c", "d")
    assert rows.read_rows(calibration, 4, card.scaling).shape == (60, 4)
    assert cli("model", "check", output).code == 0


def test_quantising_takes_labels_and_a_given_scaling(cli: Cli, tmp_path: Path) -> None:
    calibration = features(tmp_path / "rows.csv")
    model = float_model(tmp_path / "f.onnx")
    first = tmp_path / "first.onnx"
    cli("model", "quantize", model, "--calibration", calibration, "-o", first)
    labels = tmp_path / "labels.npy"
    np.save(labels, np.arange(60) % 2)
    again = tmp_path / "again.onnx"
    card = first.with_suffix(".card.json")
    ran = cli(
        "model",
        "quantize",
        model,
        "--calibration",
        calibration,
        "-o",
        again,
        "--labels",
        labels,
        "--scaling",
        card,
        "--json",
    )
    assert again.read_bytes() == first.read_bytes()
    assert 0 <= ran.data["integer_accuracy"] <= 1 and ran.data["float_accuracy"] is not None


def test_a_model_that_cannot_be_registered_is_refused_with_the_reason_and_nothing_is_written(
    cli: Cli, tmp_path: Path
) -> None:
    model = float_model(tmp_path / "f.onnx", operator="RNN")
    output = tmp_path / "made.onnx"
    ran = cli("model", "quantize", model, "--calibration", features(tmp_path / "rows.csv"), "-o", output)
    assert ran.code == ExitCode.BAD_INPUT
    assert "'between' (RNN): operator: recurrent layers are not quantised" in ran.err
    assert not output.exists()


def test_a_model_with_a_table_is_quantised_shown_layer_by_layer_and_measured(cli: Cli, tmp_path: Path) -> None:
    model = float_model(tmp_path / "f.onnx", operator="Tanh")
    output = tmp_path / "made.onnx"
    assert cli("model", "quantize", model, "--calibration", features(tmp_path / "rows.csv"), "-o", output).code == 0
    facts = cli("model", "show", output, "--json").data
    assert "table" in [layer["operator"] for layer in facts["layers"]]
    assert (facts["stepwise"], facts["registration_transactions"]) == (False, 1)
    assert 15_000 < facts["execution_gas"] < facts["refutation_gas"]


def test_a_plan_of_steps_says_how_many_and_how_large_they_are() -> None:
    network = constant_network([2, 42_000, 3])
    planned = measure.plan(network)
    steps = plan(network)
    assert planned.steps == len(steps) + 1 >= 3
    assert 5_000_000 < planned.largest <= 12_000_000 < planned.gas
    assert planned.gas == begin_gas(network) + sum(step.gas for step in steps)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a,b,c,d\n1,2,3,nan\n1,2,3,4\n", "not a finite number"),
        ("a,b,c,d\n1,2,3,x\n", "rows.csv: .*'x'.*columns a, b, c, d.*leave others out"),
        ("a,b,c,d\n1,2,3,4\n1,2,3\n", "every column must be a number"),
        ("a,b,c,d\n1,2,3,4\n1,2,3,5\n", "never varies|above minimum"),
        ("", "no rows"),
    ],
)
def test_calibration_that_cannot_be_used_is_refused(cli: Cli, tmp_path: Path, content: str, complaint: str) -> None:
    import re

    path = tmp_path / "rows.csv"
    path.write_text(content)
    output = tmp_path / "made.onnx"
    ran = cli("model", "quantize", float_model(tmp_path / "f.onnx"), "--calibration", path, "-o", output)
    assert ran.code == ExitCode.BAD_INPUT and re.search(complaint, ran.err)
    assert not output.exists()


# ---- Data files ----


def test_every_kind_of_data_file_gives_the_same_rows(tmp_path: Path) -> None:
    model = zoo.load("wine-grading")
    expected = model.read_vectors()[0][:20]
    scaling = model.card.scaling
    table = write_wine(tmp_path / "wine.csv", 20)
    np.save(tmp_path / "floats.npy", scaling.to_features(expected))
    np.save(tmp_path / "bytes.npy", expected)
    (tmp_path / "rows.bin").write_bytes(expected.tobytes())
    for path in (table, tmp_path / "floats.npy", tmp_path / "bytes.npy", tmp_path / "rows.bin"):
        assert np.array_equal(rows.read_rows(path, 13, scaling), expected), path


def test_a_pickle_in_an_npy_file_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "evil.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(Refusal, match="array of numbers"):
        rows.read_array(path)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.bin", b"", "0 bytes are not one or more rows of 13"),
        ("a.bin", b"\0" * 14, "14 bytes"),
        ("a.npy", b"junk", "no .npy array"),
        ("a.txt", b"1", "told apart by its ending"),
    ],
)
def test_data_of_the_wrong_size_or_kind_is_refused(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Refusal, match=complaint):
        rows.read_rows(path, 13, zoo.load("wine-grading").card.scaling)


def test_features_without_a_card_are_refused_and_bytes_are_taken(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="--scaling"):
        rows.read_rows(write_wine(tmp_path / "wine.csv", 2), 13, None)
    (tmp_path / "rows.bin").write_bytes(bytes(26))
    assert rows.read_rows(tmp_path / "rows.bin", 13, None).shape == (2, 13)


def test_a_card_that_does_not_fit_its_model_is_refused(cli: Cli, tmp_path: Path) -> None:
    source = zoo.load("wine-grading").onnx_path
    model = tmp_path / "mine.onnx"
    model.write_bytes(source.read_bytes())
    card = json.loads(source.with_name("card.json").read_text())
    (tmp_path / "mine.card.json").write_text(json.dumps({**card, "classes": ["a", "b"]}))
    ran = cli("model", "check", model)
    assert ran.code == ExitCode.BAD_INPUT and "2 classes" in ran.err
    (tmp_path / "mine.card.json").write_text("{}")
    ran = cli("model", "check", model)
    assert ran.code == ExitCode.BAD_INPUT and "it lacks 'features'" in ran.err
