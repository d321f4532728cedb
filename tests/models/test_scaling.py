"""Raw features become the same bytes everywhere, and bad ones a message that says which."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.scaling import BadFeatures, Scaling, fit, read_csv

SCALING = Scaling(("sugar", "acid"), (0.0, -1.0), (10.0, 1.0))


def test_the_range_becomes_0_to_255_and_what_lies_beyond_is_clipped() -> None:
    features = np.array([[0, -1], [10, 1], [-3, 1e300], [5, 0], [1e308, -1e308]])
    assert SCALING.to_rows(features).tolist() == [[0, 0], [255, 255], [0, 255], [128, 128], [255, 0]]
    assert SCALING.to_rows(features).dtype == np.uint8


def test_halves_round_to_even() -> None:
    scaling = Scaling(("x",), (0.0,), (255.0,))
    assert scaling.to_rows(np.array([[0.5], [1.5], [2.5], [253.5], [254.5]])).ravel().tolist() == [0, 2, 2, 254, 254]


FINITE = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False)


@given(FINITE, st.floats(1e-3, 1e6), FINITE)
def test_scaling_is_the_formula_in_ieee_doubles_step_by_step(low: float, span: float, value: float) -> None:
    """Each step recomputed exactly with fractions and rounded once to a double, as the standard demands."""
    high = low + span
    scaling = Scaling(("x",), (low,), (high,))
    width = float(Fraction(high) - Fraction(low))
    offset = float(Fraction(value) - Fraction(low))
    scaled = float(Fraction(float(Fraction(offset) / Fraction(width))) * 255)
    assert int(scaling.to_rows(np.array([[value]]))[0, 0]) == round(Fraction(min(255.0, max(0.0, scaled))))


@given(FINITE, st.floats(1e-3, 1e6))
def test_a_byte_survives_the_way_to_its_feature_and_back(low: float, span: float) -> None:
    scaling = Scaling(("x",), (low,), (low + span,))
    rows = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    np.testing.assert_array_equal(scaling.to_rows(scaling.to_features(rows)), rows)


def test_fit_spans_the_data_with_readable_numbers() -> None:
    scaling = fit(("a", "b"), np.array([[0.123456789, 5], [3, -7], [2, 0]]))
    assert (scaling.minimum, scaling.maximum) == ((0.123457, -7.0), (3.0, 5.0))


@pytest.mark.parametrize(
    ("names", "low", "high", "message"),
    [
        ((), (), (), "at least one feature"),
        (("a", "b"), (0.0,), (1.0, 2.0), "for each feature"),
        (("a", "a"), (0.0, 0.0), (1.0, 1.0), "same name"),
        (("a",), (1.0,), (1.0,), "'a': maximum 1.0 must be above minimum 1.0"),
        (("a",), (float("nan"),), (1.0,), "must be above"),
        (("a",), (-1.7e308,), (1.7e308,), "must be above"),
        (("a",), (0.0,), (float("inf"),), "must be above"),
    ],
)
def test_a_scaling_without_a_proper_range_is_refused(
    names: tuple[str, ...], low: tuple[float, ...], high: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scaling(names, low, high)


def test_the_wrong_feature_count_is_refused_with_the_names() -> None:
    with pytest.raises(BadFeatures, match=r"\(n, 2\), not \(1, 3\): .*sugar, acid"):
        SCALING.to_rows(np.zeros((1, 3)))
    with pytest.raises(BadFeatures, match=r"shape \(n, 2\)"):
        SCALING.to_rows(np.zeros(2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_by_row_and_name(value: float) -> None:
    features = np.zeros((5, 2))
    features[3, 1] = value
    with pytest.raises(BadFeatures, match=rf"row 3, feature 'acid': {value} is not a finite number"):
        SCALING.to_rows(features)


def test_text_is_refused_as_features() -> None:
    with pytest.raises(BadFeatures, match="must be numbers"):
        SCALING.to_rows(np.array([["red", "green"]]))


def csv_rows(tmp_path: Path, text: str | bytes) -> list[list[int]]:
    path = tmp_path / "items.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [[int(byte) for byte in row] for row in read_csv(path, SCALING)]


def test_a_header_picks_columns_by_name_in_any_order(tmp_path: Path) -> None:
    text = "\ufeffid,acid,colour,sugar\r\n7,-1,red,10\r\n\r\n8, 1 ,green,0\r\n"
    assert csv_rows(tmp_path, text) == [[255, 0], [0, 255]]


def test_without_a_header_the_columns_stand_in_order(tmp_path: Path) -> None:
    assert csv_rows(tmp_path, "10,-1\n5e0,+.0\n") == [[255, 0], [128, 128]]


def test_a_long_file_is_read_whole(tmp_path: Path) -> None:
    assert len(csv_rows(tmp_path, "1,1\n" * 70_000)) == 70_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("sugar,acid\n", "no rows"),
        ("1,2,3\n", "line 1: 3 columns where the model reads 2 features"),
        ("1\n", "line 1: 1 columns"),
        ("sugar,sour\n1,2\n", "line 1: the header has no column 'acid'"),
        ("1,two\n", "if the line is data, 'two' is not a number"),
        ("sugar,acid,acid\n1,2,3\n", "column 'acid' twice"),
        ("1,2\n3\n", "line 2: 1 cells where the first line has 2"),
        ("1,2\n3,x\n", "line 2, column 'acid': 'x' is not a number"),
        ("1,2\n,4\n", "line 2, column 'sugar': '' is not a number"),
        ("sugar,acid\n1,nan\n", "line 2, column 'acid': 'nan' is not finite"),
        ("1,-Infinity\n", "line 1, column 'acid': '-Infinity' is not finite"),
        ("1,1e999\n", "line 1, column 'acid': '1e999' is not finite"),
        ("1,2\n1_0,2\n", "'1_0' is not a number"),
        ("1,2\n٣,2\n", "is not a number"),
        ('1,2\n"3,4\n', "not a CSV file in UTF-8"),
        (b"1,2\n\xff,3\n", "not a CSV file in UTF-8"),
    ],
)
def test_a_bad_file_is_refused_by_line_and_column(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(BadFeatures, match=message):
        csv_rows(tmp_path, text)


def test_an_absent_file_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        read_csv("absent.csv", SCALING)
