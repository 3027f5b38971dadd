"""What columns are called: bare ids, statistics behind a hyphen, and ids that a table knows as something else."""

import pytest

from sbmlgrad.headers import RESERVED, column


def test_a_column_is_called_by_id_and_statistic() -> None:
    assert column("S") == "S"
    assert column("[S]") == "[S]"
    assert column("S", "mean") == "S-mean"
    assert column("[S]", "sd") == "[S]-sd"


@pytest.mark.parametrize("identifier", RESERVED)
def test_an_id_that_means_something_else_never_stands_alone(identifier: str) -> None:
    assert column(identifier) == f"{identifier}-value"
    assert column(identifier, "mean") == f"{identifier}-mean"
    assert column(f"[{identifier}]") == f"[{identifier}]"
