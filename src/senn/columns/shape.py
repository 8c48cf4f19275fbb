"""Whether something has rows and columns."""

from senn.readers import DataError
from senn.words import counted


def check_shape(shape: tuple[int, ...], min_rows: int = 0) -> None:
    """Refuse, with a `DataError`, what is not at least `min_rows` rows of columns."""
    if len(shape) != 2:
        advice = "X.reshape(-1, 1) if it is one feature, X.reshape(1, -1) if it is one row"
        of_images = 'X.reshape(len(X), -1), or take network="conv" if these are images'
        raise DataError(
            f"Expected X with 2 dimensions, rows and features, got {len(shape)} (shape={shape}): "
            f"Reshape your data with {advice if len(shape) < 2 else of_images}."
        )
    if shape[1] == 0:
        raise DataError(
            f"Found 0 feature(s) (shape={shape}) while a minimum of 1 is required: "
            f"give at least one column besides the target."
        )
    if shape[0] < min_rows:
        raise DataError(
            f"Found {counted(shape[0], 'row')} (n_samples={shape[0]}) while a minimum of "
            f"{min_rows} is required: give more rows."
        )
