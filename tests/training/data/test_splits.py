"""Every data set that can be named is there."""

from training.data.splits import DATASETS


def test_every_data_set_of_the_configuration_is_there() -> None:
    from typing import get_args

    from training.data.config import DatasetName

    assert tuple(DATASETS) == get_args(DatasetName)
