"""Remote-write bodies, read by the protocol buffers library."""

from __future__ import annotations

from typing import Any

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from vmanomaly.series import Labels

_FIELD = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED
_MESSAGES: dict[str, list[tuple[str, Any, Any, str | None]]] = {
    "Label": [
        ("name", _ONE, _FIELD.TYPE_STRING, None),
        ("value", _ONE, _FIELD.TYPE_STRING, None),
    ],
    "Sample": [
        ("value", _ONE, _FIELD.TYPE_DOUBLE, None),
        ("timestamp", _ONE, _FIELD.TYPE_INT64, None),
    ],
    "TimeSeries": [
        ("labels", _MANY, _FIELD.TYPE_MESSAGE, "Label"),
        ("samples", _MANY, _FIELD.TYPE_MESSAGE, "Sample"),
    ],
    "WriteRequest": [("timeseries", _MANY, _FIELD.TYPE_MESSAGE, "TimeSeries")],
}


def _write_request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="remote.proto", package="prometheus", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, (name, label, kind, of) in enumerate(fields, start=1):
            field = described.field.add(name=name, number=number, label=label, type=kind)
            if of is not None:
                field.type_name = f".prometheus.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


WriteRequest = _write_request()


def decode_write_request(body: bytes) -> list[tuple[Labels, list[tuple[int, float]]]]:
    """Return the series of an uncompressed body, with labels that are ordered and unique."""
    series = []
    for entry in WriteRequest.FromString(body).timeseries:
        names = [label.name for label in entry.labels]
        assert names == sorted(set(names))
        labels = Labels((label.name, label.value) for label in entry.labels)
        series.append((labels, [(sample.timestamp, sample.value) for sample in entry.samples]))
    return series


def decompress(body: bytes) -> bytes:
    """Undo snappy's block format."""
    return bytes(cramjam.snappy.decompress_raw(body))
