"""The store that a record names, opened only if it still is what it was.

A record keeps the place and the checksum of the store that something was made on. The checksum
decides: a store may move, and its place may hold other data since.
"""

from pathlib import Path

from hmtas.errors import InputError, TransientError
from hmtas.store.index import INDEX_FILE, JOURNAL_FILE
from hmtas.store.local import EmbeddingStore
from hmtas.store.remote import is_remote, open_store


def open_recorded(
    who: object,
    place: str,
    checksum: str,
    *,
    named: str | Path | None = None,
    other_data: bool = False,
    option: str = "--store",
) -> EmbeddingStore:
    """Open the store that something was made on, where the record or the user says that it lies.

    Args:
        who: What was made on it, for messages.
        place: Path or address, as recorded.
        checksum: Checksum that it had.
        named: Path or address of the store that the user names in its place.
        other_data: May that be another store?
        option: Option that names it.

    Raises:
        TransientError: If it is not there, or another one by now.
        InputError: If the user names another store.
    """
    files = (INDEX_FILE, JOURNAL_FILE)  # the second alone: it is being packed
    is_there = is_remote(place) or any((Path(place) / name).exists() for name in files)
    if named is None and not is_there:
        raise TransientError(
            f"{who}: its store is not at {place}, where it was recorded, and did not move along; "
            f"name where it lies now with {option}"
        )
    try:
        store = open_store(place if named is None else named)
    except TransientError:
        raise
    except InputError as error:  # it may be there, or right, when somebody tries again
        raise TransientError(str(error)) from error
    if store.checksum == checksum or (named is not None and other_data):
        return store
    differs = f"its checksum is {store.checksum[:12]}, and {who} was made on {checksum[:12]}"
    if named is not None:
        raise InputError(f"{option} {store.place}: {differs}; is it another store?")
    also = f", or this one with {option} to use its data all the same" if other_data else ""
    raise TransientError(
        f"{store.place}: {differs}; packed again since, from other games, labels or features? "
        f"Pack it as it was, or name the same store in another place with {option}{also}"
    )
