"""Small files of every format that feeds are read from, made here: tests, the fuzz run and examples use them."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

PM_LISTS = b"""<?xml version="1.0" encoding="UTF-8"?>
<measCollecFile xmlns="http://www.3gpp.org/ftp/specs/archive/32_series/32.435#measCollec">
 <fileHeader fileFormatVersion="32.435 V10.0" vendorName="Example" dnPrefix="DC=example,SubNetwork=1">
  <fileSender localDn="ManagedElement=G1"/><measCollec beginTime="2026-11-22T15:30:00+08:00"/>
 </fileHeader>
 <measData>
  <managedElement localDn="ManagedElement=G1" swVersion="1"/>
  <measInfo measInfoId="Rrc">
   <job jobId="7"/>
   <granPeriod duration="PT900S" endTime="2026-11-22T15:45:00+08:00"/>
   <repPeriod duration="PT1800S"/>
   <measTypes>RRC.ConnEstabAtt.mo-Data RRC.ConnEstabAtt.mt-Access RRC.ConnEstabSucc.Sum RRU.PrbTotDl X.Odd</measTypes>
   <measValue measObjLdn="GNBDUFunction=1,NRCellDU=c-1"><measResults>60 40 97 71 5</measResults></measValue>
   <measValue measObjLdn="GNBDUFunction=1,NRCellDU=c-2"><measResults>NIL 40 39 12.5 0</measResults></measValue>
   <measValue measObjLdn="GNBDUFunction=1,NRCellDU=c-3">
    <measResults>1 1 2 99 0</measResults><suspect>true</suspect>
   </measValue>
   <measValue measObjLdn="GNBDUFunction=1,NRCellDU=c-4"><measResults>1 2</measResults></measValue>
  </measInfo>
 </measData>
 <fileFooter><measCollec endTime="2026-11-22T15:45:00+08:00"/></fileFooter>
</measCollecFile>
"""

PM_NUMBERED = b"""<?xml version="1.0"?>
<md:measDataFile xmlns:md="http://www.3gpp.org/ftp/specs/archive/28_series/28.532#measData">
 <md:fileHeader fileFormatVersion="28.532 V16" vendorName="Example" dnPrefix="DC=example,SubNetwork=1">
  <md:fileSender senderName="ManagedElement=G1"/><md:measData beginTime="202611221530+0800"/>
 </md:fileHeader>
 <md:measData>
  <md:measuredEntity localDn="ManagedElement=G1"/>
  <md:measInfo measInfoId="Rrc">
   <md:granPeriod duration="PT15M" endTime="202611221545+0800"/>
   <md:repPeriod duration="PT1H"/>
   <md:measType p="2">RRC.ConnEstabAtt.mt-Access</md:measType>
   <md:measType p="1">RRC.ConnEstabAtt.mo-Data</md:measType>
   <md:measType p="3">RRC.ConnEstabSucc.Sum</md:measType>
   <md:measType p="4">RRU.PrbTotDl</md:measType>
   <md:measType p="5">X.Odd</md:measType>
   <md:measValue measObjLdn="GNBDUFunction=1,NRCellDU=c-1">
    <md:r p="1">60</md:r><md:r p="2">40</md:r><md:r p="3">97</md:r><md:r p="4">71</md:r><md:r p="5">5</md:r>
    <md:suspect>false</md:suspect>
   </md:measValue>
   <md:measValue measObjLdn="GNBDUFunction=1,NRCellDU=c-5">
    <md:r p="5">86,87,2</md:r><md:r p="4"/><md:r p="9">1</md:r>
   </md:measValue>
  </md:measInfo>
 </md:measData>
</md:measDataFile>
"""

SAMPLES = [
    {
        "id": "a-1",
        "observed_at": "2026-11-22T07:31:00Z",
        "vantage": "cloud",
        "service": "video",
        "dimensions": {"node": "edge-1"},
        "values": {"first_byte_ms": 41.5},
    },
    {
        "observed_at": "2026-11-22T07:32:00Z",
        "vantage": "pipe",
        "subscriber": "+8613812345678",
        "dimensions": {"cell": "c-1", "probe": 'p"{[,'},
        "values": {"tcp_setup_user_ms": 35, "retransmission_ratio": 0.01},
    },
    {
        "observed_at": "2026-11-22T07:33:00Z",
        "service": "iot",
        "subscriber": "+8613812345678",
        "lwm2m": [
            {"bn": "/4/0/", "n": "2", "v": -101},
            {"n": "13", "v": 2},
            {"n": "8", "v": 4711},
            {"bn": "/10/0/", "n": "4", "v": 86400},
            {"n": "9", "vd": "XQ"},
        ],
    },
]

CSV = (
    b"time,cell,rtt,line\r\n"
    b"2026-11-22 15:31:00,c-1,0.05,+8613812345678\r\n"
    b'2026-11-22 15:31:01,"c-2",,\r\n'
    b"2026-11-22 15:31:02,c-3,nonsense,\r\n"
    b"2026-11-22 15:31:03,c-3,0.25,\r\n"
)

TABLE_MAPPING = b"""
kind = "table"
feed = "pipe"
subscriber = "line"
service = { value = "video" }

[time]
column = "time"
format = "%Y-%m-%d %H:%M:%S"
zone = "Asia/Shanghai"

[dimensions]
cell = "cell"
city = { value = "Hangzhou" }

[values]
rtt_ms = { column = "rtt", unit = "s" }
"""


def ndjson() -> bytes:
    return b"\n".join(json.dumps(one).encode() for one in SAMPLES) + b"\n"


def array() -> bytes:
    return json.dumps(SAMPLES, indent=1).encode()


def table() -> pa.Table:
    return pa.table(
        {
            "observed_at": pa.array([NOW] * 4, pa.timestamp("ns", "UTC")),
            "vantage": ["pipe"] * 4,
            "cell": pa.array(["c-1", "c-2", "c-2", None]).dictionary_encode(),
            "rtt_ms": [50.0, None, 2.5, 1.0],
            "labels.probe": ["x", "y", "z", "z"],
        }
    )


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink)
    return sink.getvalue()


def arrow(compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(
        sink, table().schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as out:
        out.write_table(table())
    return sink.getvalue()


def arrow_file() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table().schema) as out:
        out.write_table(table())
    return sink.getvalue()


def every_format() -> dict[str, bytes]:
    """File name → content, one of each."""
    return {
        "A20261122.1530+0800-1545+0800_1.xml": PM_LISTS,
        "numbered.xml": PM_NUMBERED,
        "packed.xml.gz": gzip.compress(PM_LISTS, mtime=0),
        "lines.ndjson": ndjson(),
        "array.json": array(),
        "one.json": json.dumps(SAMPLES[0]).encode(),
        "table.csv": b"observed_at,vantage,cell,rtt_ms\n2026-11-22T07:31:00Z,pipe,c-1,50\n",
        "table.parquet": parquet(),
        "table.arrows": arrow(),
        "packed.arrows": arrow("zstd"),
        "table.arrow": arrow_file(),
    }
