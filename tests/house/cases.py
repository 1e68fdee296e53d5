"""Tables of hundreds of cases, which would only be lines to read as a test each."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def case(*names: object) -> Iterator[None]:
    """What an assertion inside says begins with the case that failed."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{', '.join(map(str, names))}: {error}") from error
