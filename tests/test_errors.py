"""The tree of expected failures: exit codes, and hints that survive a worker process."""

from __future__ import annotations

import pickle

import pytest

from hrpose import errors
from hrpose.errors import HrposeError

CODES = {
    "HrposeError": 1,
    "UsageError": 2,
    "InputError": 3,
    "BadImage": 3,
    "BadVideo": 3,
    "BadAnnotation": 3,
    "WeightsError": 4,
    "DownloadError": 4,
    "OutputError": 5,
    "MemoryLimitError": 6,
}


@pytest.mark.parametrize("name", CODES)
def test_codes_and_pickling(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("photo.jpg: cut short", hint="copy it again")
    assert isinstance(error, HrposeError)
    assert error.exit_code == CODES[name]
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert (str(back), back.message, back.hint) == (str(error), error.message, "copy it again")


def test_the_table_is_complete() -> None:
    kinds = {
        n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, HrposeError)
    }
    assert kinds == set(CODES)
