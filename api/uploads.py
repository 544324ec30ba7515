"""A file in a request's body, written to the disk as it arrives: none of it stays in memory."""

import re
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from api.arrival import read_pieces
from api.problems import BadBody
from churn.errors import Fault, InvalidData, NotReady

FIELD = "file"
CSV, PARQUET, FORM = "text/csv", "application/vnd.apache.parquet", "multipart/form-data"
SUFFIXES = {".csv": ".csv", ".parquet": ".parquet", ".pq": ".parquet"}
_TYPES = {CSV: ".csv", PARQUET: ".parquet"}
_MORE = 64 * 1024
"""What the boundaries and headers of a form may add to a file."""
_DECODED = 1 << 20
"""What of a form is looked at in one go; its headers must fit."""
_NAME_LENGTH = 150


class Upload(NamedTuple):
    """A file that has arrived."""

    path: Path
    name: str
    """As its sender calls it, without folders; ends in .csv or .parquet."""


def receive(folder: Path, most: int) -> Upload:
    """Write the request's file into a folder, as ``source.csv`` or ``source.parquet``.

    Args:
        most: bytes that it may have.

    Raises:
        BadBody: 400, nothing is in it, or no form; 408, too slow; 413, too large; 415, neither CSV nor Parquet.
        InvalidData: the form holds something else than one file.
        NotReady: the disk is full.
    """
    kind, options = parse_options_header(request.content_type)
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise BadBody(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the file as it is, and not compressed")
    if kind == FORM:
        name, suffix, content = _of_form(options.get("boundary", ""), most)
    elif kind in _TYPES:
        name, suffix, content = _name_of_request(), _TYPES[kind], read_pieces(most)
    else:
        raise BadBody(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send the file as {FORM}, {CSV} or {PARQUET}")
    path = folder / f"source{suffix}"
    if not _written(path, content, most):
        raise BadBody(HTTPStatus.BAD_REQUEST, "the file is empty")
    return Upload(path, _plain(name, suffix))


def discard(most: int) -> None:
    """Read what nobody wants, so that its sender comes to hear the answer."""
    with suppress(BadBody):
        for _ in read_pieces(most + _MORE):
            pass


def _written(path: Path, content: Iterator[bytes], most: int) -> int:
    size = 0
    try:
        with path.open("wb") as handle:
            for piece in content:
                size += len(piece)
                if size > most:
                    too_large = f"a file may have {most / 2**20:,.0f} MiB"
                    raise BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
                handle.write(piece)
    except OSError as error:
        raise NotReady(f"the file cannot be kept: {error.strerror or error}") from error
    return size


def _of_form(boundary: str, most: int) -> tuple[str, str, Iterator[bytes]]:
    """The one file of a form, whose first bytes have been read."""
    if not boundary.isascii() or not 1 <= len(boundary) <= 200:
        raise BadBody(HTTPStatus.BAD_REQUEST, "the form says no boundary")
    events = _events(MultipartDecoder(boundary.encode(), _DECODED), most)
    first = next((event for event in events if isinstance(event, Field | File | Epilogue)), None)
    if not isinstance(first, File) or first.name != FIELD:
        found = getattr(first, "name", None)
        raise InvalidData([Fault(None, FIELD, found, "expected one part of this name, with a filename, and no other")])
    suffix = SUFFIXES.get(_ending(first.filename))
    suffix = suffix or _TYPES.get(parse_options_header(first.headers.get("Content-Type", ""))[0])
    if suffix is None:
        raise BadBody(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a file whose name ends in .csv or .parquet")
    return first.filename, suffix, _data(events)


def _data(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, Data):
            yield event.data
        elif isinstance(event, Field | File):
            raise InvalidData([Fault(None, str(event.name), None, "unknown beside the file")])


def _events(decoder: MultipartDecoder, most: int) -> Iterator[Event]:
    try:
        for piece in read_pieces(most + _MORE):
            decoder.receive_data(piece)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), NeedData):
            yield event
            if isinstance(event, Epilogue):
                return
    except (ValueError, RequestEntityTooLarge, AttributeError) as error:
        raise BadBody(HTTPStatus.BAD_REQUEST, "the form is broken") from error


def _name_of_request() -> str:
    """``?filename=``, or that of Content-Disposition."""
    _, options = parse_options_header(request.headers.get("Content-Disposition", ""))
    return request.args.get("filename") or options.get("filename") or "customers"


def _ending(name: str) -> str:
    return f".{name.rpartition('.')[2]}".lower()


def _plain(name: str, suffix: str) -> str:
    """A name that can be told and saved under anywhere, with its format's ending."""
    last = re.split(r"[/\\]", name)[-1]
    stem = last[: -len(_ending(last))] if _ending(last) in SUFFIXES else last
    kept = "".join(sign if sign.isprintable() and sign not in '"<>:|?*;' else "_" for sign in stem).strip(" .")
    return f"{kept[:_NAME_LENGTH] or 'customers'}{suffix}"
