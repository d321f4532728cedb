"""ONNX's own tests of the supported operators pass through the specification and ONNX Runtime, or it is said why not."""

from __future__ import annotations

from itertools import chain

import numpy as np
import onnx
import pytest

from models.interpreter import run
from models.runtime import Runtime
from tests.models.node_tests import OPERATORS, NodeTest, need_folder, requantised, say

PASS = (
    "add_int16", "add_int8", "add_uint16", "add_uint32", "add_uint64", "add_uint8",
    "averagepool_2d_precomputed_strides", "basic_conv_with_padding", "basic_conv_without_padding",
    "conv_with_autopad_same", "conv_with_strides_and_asymmetric_padding", "conv_with_strides_no_padding",
    "conv_with_strides_padding", "convinteger_with_padding", "convinteger_without_padding", "concat_1d_axis_0",
    "concat_1d_axis_negative_1", "concat_2d_axis_0", "concat_2d_axis_1", "concat_2d_axis_negative_1",
    "concat_2d_axis_negative_2", "concat_3d_axis_0", "concat_3d_axis_1", "concat_3d_axis_2",
    "concat_3d_axis_negative_1", "concat_3d_axis_negative_2", "concat_3d_axis_negative_3", "constant_pad",
    "constant_pad_axes", "constant_pad_negative_axes", "dequantizelinear", "dequantizelinear_axis", "flatten_axis0",
    "flatten_axis1", "flatten_axis2", "flatten_axis3", "flatten_default_axis", "flatten_negative_axis1",
    "flatten_negative_axis2", "flatten_negative_axis3", "flatten_negative_axis4", "globalmaxpool",
    "globalmaxpool_precomputed", "maxpool_1d_default", "maxpool_2d_ceil",
    "maxpool_2d_ceil_output_size_reduce_by_one", "maxpool_2d_precomputed_pads", "maxpool_2d_precomputed_same_upper",
    "maxpool_2d_precomputed_strides", "maxpool_2d_uint8", "matmulinteger", "qlinearconv", "quantizelinear",
    "reshape_extended_dims", "reshape_negative_dim", "reshape_negative_extended_dims", "reshape_one_dim",
    "reshape_reduced_dims", "reshape_reordered_all_dims", "reshape_reordered_last_dims",
    "reshape_zero_and_negative_dim", "reshape_zero_dim", "transpose_all_permutations_0",
    "transpose_all_permutations_1", "transpose_all_permutations_2", "transpose_all_permutations_3",
    "transpose_all_permutations_4", "transpose_all_permutations_5", "transpose_default",
)  # fmt: skip

SUMS_PASS = (
    "qlinearmatmul_2D_int8_float16", "qlinearmatmul_2D_int8_float32", "qlinearmatmul_2D_uint8_float16",
    "qlinearmatmul_2D_uint8_float32", "qlinearmatmul_3D_int8_float16", "qlinearmatmul_3D_int8_float32",
    "qlinearmatmul_3D_uint8_float16", "qlinearmatmul_3D_uint8_float32",
)  # fmt: skip
"""Their factor is no power of two: the network gives the exact sums, and the recorded output follows from those."""

WRONG_UPSTREAM = dict.fromkeys(
    (name for name in SUMS_PASS if "int8" in name and "uint8" not in name),
    "results below -128 were recorded wrapped around (-236 as 20), where QLinearMatMul saturates: the reference cast them",
)
"""Recorded outputs that the operator's own definition contradicts."""

NOT_CANONICAL = {
    "reals of any value: only integers are exact": (
        "add", "add_bcast", "averagepool_1d_default", "averagepool_2d_default", "averagepool_2d_same_lower",
        "averagepool_2d_same_upper", "globalaveragepool", "gemm_all_attributes", "gemm_alpha", "gemm_beta",
        "gemm_default_matrix_bias", "gemm_default_no_bias", "gemm_default_scalar_bias",
        "gemm_default_single_elem_vector_bias", "gemm_default_vector_bias", "gemm_default_zero_bias",
        "gemm_transposeA", "gemm_transposeB", "matmul_2d", "matmul_3d", "matmul_4d",
    ),
    "an average over a number of values that is no power of two": (
        "averagepool_2d_ceil", "averagepool_2d_ceil_last_window_starts_on_pad", "averagepool_2d_pads",
        "averagepool_2d_pads_count_include_pad", "averagepool_2d_precomputed_pads",
        "averagepool_2d_precomputed_pads_count_include_pad", "averagepool_2d_precomputed_same_upper",
        "averagepool_2d_strides", "globalaveragepool_precomputed",
    ),
    "dilated windows": (
        "averagepool_2d_dilations", "maxpool_2d_dilations",
    ),
    "windows of three dimensions": (
        "averagepool_3d_default", "averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
        "averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
        "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
        "averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True", "averagepool_3d_dilations_small",
        "maxpool_3d_default", "maxpool_3d_dilations", "maxpool_3d_dilations_use_ref_impl",
        "maxpool_3d_dilations_use_ref_impl_large",
    ),
    "more than 256 different values in one image: they are no bytes": (
        "maxpool_2d_default", "maxpool_2d_pads", "maxpool_2d_same_lower", "maxpool_2d_same_upper",
        "maxpool_2d_strides",
    ),
    "two outputs": (
        "maxpool_with_argmax_2d_precomputed_pads", "maxpool_with_argmax_2d_precomputed_strides",
    ),
    "a table looks single bytes up, counted from 0": (
        "gather_0", "gather_1", "gather_2d_indices", "gather_negative_indices",
    ),
    "padding by other values of the image": (
        "edge_pad", "reflect_pad", "wrap_pad",
    ),
    "scales for blocks of a channel": (
        "dequantizelinear_blocked", "quantizelinear_blocked_asymmetric", "quantizelinear_blocked_symmetric",
    ),
    "other types than bytes": (
        "dequantizelinear_e4m3fn", "dequantizelinear_e4m3fn_float16", "dequantizelinear_e4m3fn_zero_point",
        "dequantizelinear_e5m2", "dequantizelinear_float4e2m1", "dequantizelinear_int16", "dequantizelinear_int4",
        "dequantizelinear_uint16", "dequantizelinear_uint4", "quantizelinear_e4m3fn", "quantizelinear_e5m2",
        "quantizelinear_float4e2m1", "quantizelinear_int16", "quantizelinear_int4", "quantizelinear_uint16",
        "quantizelinear_uint4",
    ),
    "a scale that is no power of two": (
        "quantizelinear_axis",
    ),
    "a tensor without values": (
        "reshape_allowzero_reordered",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PASS)
def test_a_recorded_output_comes_out_of_the_specification_and_the_runtime(name: str) -> None:
    need_folder()
    said = say(NodeTest(f"test_{name}"))
    np.testing.assert_array_equal(run(said.network, said.row), said.logits)
    np.testing.assert_array_equal(Runtime(said.network).run(said.row), said.logits)


@pytest.mark.parametrize("name", SUMS_PASS)
def test_a_recorded_output_follows_from_the_exact_sums_of_specification_and_runtime(name: str) -> None:
    need_folder()
    test = NodeTest(f"test_{name}")
    said = say(test)
    sums = run(said.network, said.row)
    np.testing.assert_array_equal(Runtime(said.network).run(said.row), sums)
    np.testing.assert_array_equal(sums, said.logits)
    if name in WRONG_UPSTREAM:
        assert not np.array_equal(requantised(test, sums), test.output()), "upstream has mended it"
    else:
        np.testing.assert_array_equal(requantised(test, sums), test.output())


def test_every_test_of_a_supported_operator_is_listed_once() -> None:
    folder = need_folder()
    found = set()
    for path in sorted(folder.glob("test_*/model.onnx")):
        nodes = onnx.load(path).graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS:
            found.add(path.parent.name.removeprefix("test_"))
    listed = [*PASS, *SUMS_PASS, *chain.from_iterable(NOT_CANONICAL.values())]
    assert len(listed) == len(set(listed)) and set(listed) == found
    assert set(WRONG_UPSTREAM) <= set(SUMS_PASS)
