"""What each column of a table holds is told from its values, and becomes the same numbers again."""

import datetime
import json
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder

from senn.columns import Wishes, dates, described, learn, table_of, treatments
from senn.columns.encoder import columns_from
from senn.datasets import DataError
from senn.standalone import numpy_columns

N = 24
NUMBER = {"kind": "number", "gaps": False}


def spec_of(values, **wishes):
    """What was learned of one column that stands beside a number."""
    table = table_of(pd.DataFrame({"c": pd.Series(values), "n": np.arange(len(values))}))
    return learn(table, Wishes(**wishes)).specs[0]


def inputs_of(values, others=None):
    """The inputs that a column becomes; of `others`, once it was learned from `values`."""
    columns = learn(table_of(pd.DataFrame({"c": pd.Series(values), "n": np.arange(len(values))})))
    others = values if others is None else others
    table = table_of(pd.DataFrame({"c": pd.Series(others, dtype=object), "n": 0.0}))
    return columns.encode(table)[:, :-1]


def times(*values):
    return list(values) * (N // len(values))


KINDS = {
    "floats": (times(0.5, 1.5), "number"),
    "integers": (times(1, 2), "number"),
    "numbers as text": (times("1", "2.5"), "number"),
    "exponents": (times("1e3", "-2.5E-4"), "number"),
    "26 digits": ([f"{i}{'7' * 25}" for i in range(1, N + 1)], "number"),
    "integers beyond 64 bits": ([10**26 + i * 10**24 for i in range(N)], "number"),
    "decimals": (times(Decimal("1.5"), Decimal("2.5")), "number"),
    "decimal commas": (times("1,5", "2,25"), "number"),
    "thousands": (times("1,234", "12,345,678.5"), "number"),
    "thousands with points": (times("1.234,5", "12.345"), "number"),
    "apostrophes": (times("1'234", "12'345"), "number"),
    "narrow spaces": (times("1\u202f234", "12\u00a0345,5"), "number"),
    "money": (times("$1,234.50", "-$3"), "number"),
    "euros": (times("3,50 €", "1.234,00 €"), "number"),
    "currencies": (times("USD 5", "USD 7.5"), "number"),
    "percent": (times("5%", "7.5 %"), "number"),
    "accountants' minus": (times("(1,234.5)", "12"), "number"),
    "numbers and gaps": (times("1", "?", "3", "NA", "", "5"), "number"),
    "numbers and words for none": (times("1", "none", "3", "-"), "number"),
    "one odd word": ([*map(str, range(N - 1)), "abc"], "number"),
    "many odd words": ([*map(str, range(N // 2)), *("abc",) * (N // 2)], "category"),
    "booleans": (times(True, False), "flag"),
    "booleans and gaps": (times(True, None, False), "flag"),
    "booleans as text": (times("TRUE", "false"), "flag"),
    "words": (times("a", "b"), "category"),
    "words and gaps": (times("a", None), "category"),
    "none as a word": (times("none", "some"), "category"),
    "nothing but none": (times("none"), "constant"),
    "codes of days": (times("d1", "d2"), "category"),
    "names": ([f"name {i}" for i in range(N)], "text"),
    "one value": (times(3.0), "constant"),
    "one word": (times("a"), "constant"),
    "nothing": (times(None), "empty"),
    "NaN": (times(np.nan), "empty"),
    "words for nothing": (times("", "?", "NA"), "empty"),
    "ISO dates": ([f"2020-01-{day:02}" for day in range(1, N + 1)], "date"),
    "ISO times": ([f"2020-01-01T{hour:02}:30:00Z" for hour in range(N)], "date"),
    "German dates": ([f"{day:02}.03.2021" for day in range(1, N + 1)], "date"),
    "British dates": ([f"{day:02}/03/2021" for day in range(1, N + 1)], "date"),
    "American dates": ([f"3/{day}/2021 5:30 PM" for day in range(1, N + 1)], "date"),
    "dates with names": ([f"{day}-Mar-2021" for day in range(1, N + 1)], "date"),
    "times": ([f"{hour:02}:15" for hour in range(N)], "date"),
    "dates and gaps": ([None, "?", *(f"2020-01-{day:02}" for day in range(1, N - 1))], "date"),
    "datetime64": (pd.date_range("2020-01-01", periods=N), "date"),
    "with a time zone": (pd.date_range("2020-01-01", periods=N, tz="Asia/Tokyo"), "date"),
    "date objects": ([datetime.date(2020, 1, day) for day in range(1, N + 1)], "date"),
    "spans of time": (pd.to_timedelta(np.arange(N), "h"), "number"),
    "pandas categories": (pd.Categorical(times("a", "b")), "category"),
    "categories of numbers": (pd.Categorical(times(1, 2)), "category"),
    "Int64": (pd.array(times(1, None), "Int64"), "number"),
    "periods": (pd.period_range("2020-01", periods=N, freq="M"), "date"),
    "bytes": (times(b"a", b"b"), "category"),
    "words and numbers": (times("a", 1, "b", 2.5), "category"),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds_are_told_from_values(case):
    values, kind = KINDS[case]
    spec = spec_of(values)
    assert spec["kind"] == kind
    assert json.loads(json.dumps(spec)) == spec
    found = inputs_of(values)
    assert found.shape == (N, numpy_columns.width(spec))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (("1,5", "1.234,25"), (1.5, 1234.25)),
        (("1,234", "1,234,567.5"), (1234, 1234567.5)),
        (("$1,234.50", "-$3"), (1234.5, -3)),
        (("3,50 €", "−2,50 €"), (3.5, -2.5)),
        (("5%", "7.5 %"), (5, 7.5)),
        (("(12.5)", "+3"), (-12.5, 3)),
        (("1'234", "12’345"), (1234, 12345)),
        (("0,123", "1,234"), (0.123, 1.234)),
        ((".5", "5."), (0.5, 5)),
        (("1e-3", "2E5"), (0.001, 2e5)),
        (("٣", "٤"), (3, 4)),
    ],
)
def test_written_numbers(words, numbers):
    np.testing.assert_array_equal(np.unique(inputs_of(times(*words))), np.unique(numbers))


@pytest.mark.parametrize(
    "word", ["1,2,3", "1_0", "0x1f", "1.2.3", "$", "%", "(5", "5)", "1e", "--5x"]
)
def test_what_is_no_number(word):
    for mark in numpy_columns.MARKS:
        with pytest.raises(ValueError, match=r".*"):
            numpy_columns.number(word, mark)


def test_a_column_with_decimal_commas_tells_about_the_others():
    table = table_of(pd.DataFrame({"a": times("1.234", "2.345"), "b": times("0,5", "1,5")}))
    np.testing.assert_array_equal(learn(table).encode(table)[:2], [[1234, 0.5], [2345, 1.5]])


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(".,"))
def test_every_number_is_read_as_it_was_written(value, mark):
    assert numpy_columns.number(repr(value).replace(".", mark), mark) == value


@given(st.integers(-(10**15), 10**15))
def test_thousands_are_read_as_they_were_written(value):
    assert numpy_columns.number(f"{value:,}", ".") == value
    assert numpy_columns.number(f"{value:,}".replace(",", "."), ",") == value


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_value_error(word):
    for mark in numpy_columns.MARKS:
        try:
            assert isinstance(numpy_columns.number(word, mark), float)
        except ValueError as error:
            assert str(error)  # noqa: PT017


@given(
    st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1)),
    st.sampled_from(["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"]),
)
def test_dates_are_days_since_1970(moment, style):
    moment = moment.replace(microsecond=0)
    expected = (moment - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    known = "iso" if style.startswith("%Y") else style
    assert numpy_columns.day(moment.strftime(style), known) == pytest.approx(expected, abs=1e-9)
    array = np.array([moment], "datetime64[us]")
    assert numpy_columns.days({}, array)[0][0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("style", dates.STYLES)
def test_dates_in_every_style_are_recognised_however_they_are_spaced(style):
    moments = [datetime.datetime(2003 + n, 1 + n % 12, 13 + n, 14, 15, 16) for n in range(12)]
    words = [moment.strftime(style).replace(" ", "  ").lower() for moment in moments]
    found, _ = dates.style_of(words)
    assert found is not None
    read = [numpy_columns.day(word, found) for word in words]
    assert read == [numpy_columns.day(word, style) for word in words]


def test_cycles_of_dates():
    year = inputs_of(pd.date_range("2020-01-01", periods=N, freq="MS"))
    assert year.shape == (N, 3)  # always the first of a month: weekdays tell nothing
    np.testing.assert_allclose(np.hypot(year[:, 1], year[:, 2]), 1)
    week = inputs_of(pd.date_range("2020-01-01", periods=N))
    np.testing.assert_allclose(week[0, 1:], week[7, 1:])
    hours = inputs_of([f"{hour:02}:00" for hour in range(N)])
    np.testing.assert_allclose(hours[6, 1:], [1, 0], atol=1e-9)


def test_dates_whose_month_may_come_first_say_so():
    assert (
        "month is taken to come first"
        in spec_of([f"0{i % 9 + 1}/02/2020" for i in range(N)])["note"]
    )


def test_gaps_become_the_median_and_are_told_by_an_input():
    found = inputs_of([1.0, 2.0, np.nan, 4.0, 9.0])
    np.testing.assert_array_equal(found, [[1, 0], [2, 0], [3, 1], [4, 0], [9, 0]])
    # a gap that training did not have becomes the median alone
    np.testing.assert_array_equal(inputs_of([1.0, 2.0, 9.0], [None, 5, "7"]), [[2], [5], [7]])


def test_levels_are_one_hot_and_unknown_ones_told_apart():
    found = inputs_of([*"aaabbc", *"aaabbc"], [*"abc", "d", None])
    np.testing.assert_array_equal(found[:3], np.eye(3))
    np.testing.assert_array_equal(found[3:], 0)


def test_two_levels_are_one_input():
    np.testing.assert_array_equal(inputs_of([*"ababb"], [*"bac", None])[:, 0], [0, 1, 0.5, 0.5])


def test_rare_levels_share_an_input_as_in_scikit_learn():
    rng = np.random.default_rng(0)
    values = rng.choice([f"v{i}" for i in range(120)], 300, p=rng.dirichlet(np.full(120, 0.3)))
    found = inputs_of(values)
    encoder = OneHotEncoder(
        min_frequency=2,
        max_categories=65,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
    )
    wanted = encoder.fit_transform(values[:, None])
    assert sorted(map(tuple, found.T)) == sorted(map(tuple, wanted.T))
    unknown = inputs_of(values, ["never", "seen"])
    assert sorted(unknown[0]) == sorted(encoder.transform([["never"]])[0])


@pytest.mark.parametrize("other", [1, 1.0, "1", "1.0", " 1 "])
def test_categories_that_are_numbers_are_known_however_they_are_written(other):
    values = pd.Categorical(times(1, 2, 3))
    np.testing.assert_array_equal(inputs_of(values, [other])[0], inputs_of(values, [1])[0])


FRAME = pd.DataFrame(
    {
        "number": np.linspace(0, 1, N),
        "gaps": [np.nan, *range(N - 1)],
        "flag": pd.array(times(True, False, None), "boolean"),
        "word": times("a", "b", "c"),
        "date": pd.date_range("2020-01-01", periods=N),
        "category": pd.Categorical(times("x", "y", "z", None)),
        "whole": pd.array(times(1, None, 3), "Int64"),
    }
)
LIBRARIES = {
    "pandas": lambda frame: frame,
    "pyarrow": pa.Table.from_pandas,
    "polars": lambda frame: pl.from_arrow(pa.Table.from_pandas(frame)),
    "old strings": lambda frame: frame.astype({"word": object}),
    "arrow strings": lambda frame: frame.astype({"word": pd.ArrowDtype(pa.string())}),
    "arrow types": lambda frame: pa.Table.from_pandas(frame).to_pandas(types_mapper=pd.ArrowDtype),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_tables_of_every_library_are_the_same(library):
    wanted, table = table_of(FRAME), table_of(LIBRARIES[library](FRAME))
    columns = learn(table)
    assert table.names == tuple(FRAME.columns)
    assert [s["kind"] for s in columns.specs] == [s["kind"] for s in learn(wanted).specs]
    np.testing.assert_array_equal(columns.encode(table), learn(wanted).encode(wanted))
    np.testing.assert_array_equal(learn(wanted).encode(table), columns.encode(wanted))


def test_arrays_lists_and_sparse_matrices_are_tables():
    rows = [[1.0, "a"], [2.0, "b"], [3.0, "a"]]
    np.testing.assert_array_equal(
        learn(table_of(rows)).encode(table_of(rows)), [[1, 1, 0], [2, 0, 1], [3, 1, 0]]
    )
    sparse = scipy.sparse.csr_array(np.eye(3))
    np.testing.assert_array_equal(learn(table_of(sparse)).encode(table_of(sparse)), np.eye(3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (times({}, 1), "objects in column 'c' .*row 1"),
        (times([1], [2]), "objects in column 'c'"),
        (times(1j, 2), "Complex data not supported"),
        (times(np.inf, 1.0), r"infinity in column 'c' \(12 of 24 rows\)"),
    ],
)
def test_what_cannot_be_learned_from(values, message):
    with pytest.raises(DataError, match=message):
        spec_of(values)


def test_what_cannot_be_read_is_named_with_its_row():
    with pytest.raises(
        DataError, match=r"row 2 has 'abc' in column 'c', where the model needs a n"
    ):
        inputs_of([1.0, 2.0, 3.0], ["1", "abc", "3"])
    with pytest.raises(DataError, match=r"row 1 has '2020-13-01' in column 'c', .* a date"):
        inputs_of(pd.date_range("2020-01-01", periods=N), ["2020-13-01"])
    with pytest.raises(DataError, match="No column tells rows apart"):
        learn(table_of(pd.DataFrame({"a": times("x"), "b": times(None)})))


def test_no_categories_if_that_is_wanted():
    with pytest.raises(DataError, match=r"text .such as 'a'.*categorical_features"):
        spec_of(times("a", "b"), categorical=None)
    assert spec_of(times("1", "2"), categorical=None)["kind"] == "number"
    assert spec_of(pd.Categorical(times(1, 2)), categorical=None)["kind"] == "number"


def test_numbers_are_categories_if_that_is_wanted():
    assert spec_of(times(1, 2, 3), categorical=frozenset([0]))["levels"] == ["1", "2", "3"]


def test_first_rows_of_many_keep_room_for_what_comes():
    spec = spec_of(["a"], at_once=False)
    assert (spec["kind"], spec["slots"]) == ("category", [0, 1, 1])
    assert spec_of([3.0], at_once=False)["kind"] == "number"
    assert spec_of([None], at_once=False)["kind"] == "number"


def test_a_short_table_says_what_was_done():
    rows = dict(described(learn(table_of(FRAME))))
    assert rows["numbers"] == "number"
    assert rows["categories, one-hot"] == "word (3)"
    assert rows["categories, one-hot, gaps are one more"] == "category (3)"
    assert rows["numbers, gaps filled with the median and told by an input"] == "gaps, whole"
    told = {row["name"]: row for row in treatments(learn(table_of(FRAME)))}
    assert told["date"]["inputs"] == 3
    assert "gaps filled with 11" in told["gaps"]["treatment"]


def test_columns_of_a_file_are_checked():
    columns = learn(table_of(FRAME))
    specs = json.loads(json.dumps(columns.specs))
    assert columns_from(specs, columns.names, False) == columns
    for place, key, value in (
        (0, "kind", "magic"), (0, "fill", None), (0, "fill", float("nan")), (0, "gaps", 1),
        (0, "mark", "x"), (3, "levels", ["a", "a", "b"]), (3, "levels", "abc"), (3, "slots", [0]),
        (3, "slots", [0, 1, 2, 9, 0]), (4, "cycles", [0.0]), (4, "format", 3), (0, "name", "other"),
    ):  # fmt: skip
        wrong = json.loads(json.dumps(specs))
        wrong[place][key] = value
        with pytest.raises((ValueError, TypeError, KeyError)):
            columns_from(wrong, columns.names, False)


def test_nothing_but_numpy_is_loaded():
    code = (
        "import sys; from senn.standalone import numpy_columns; "
        "print([n for n in ('pandas', 'sklearn', 'jax', 'scipy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
