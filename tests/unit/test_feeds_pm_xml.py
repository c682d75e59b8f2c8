"""Measurement files: layouts, vocabularies, periods, doubt and what is refused. Expected figures are worked by hand."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.items import CounterItem, FeedLimits, Refused
from kqi.feeds.pm_counters import CounterReader, read_rules, standard_rules
from kqi.feeds.pm_xml import Measurement, read_measurements
from tests.feed_files import PM_LISTS, PM_NUMBERED


def measurements(data: bytes, **options: object) -> list[Measurement | Refused]:
    return list(read_measurements(io.BytesIO(data), FeedLimits(), **options))  # type: ignore[arg-type]


def items(data: bytes) -> list[CounterItem | Refused]:
    reader = CounterReader(standard_rules())
    found: list[CounterItem | Refused] = []
    for one in measurements(data):
        found.extend([one] if isinstance(one, Refused) else reader.read(one))
    return found


def one_file(
    period: str, results: str = "<measTypes>A</measTypes>", value: str = "<measResults>1</measResults>"
) -> bytes:
    return (
        f"<measCollecFile><measData><measInfo>{period}{results}"
        f'<measValue measObjLdn="UtranCell=u">{value}</measValue></measInfo></measData></measCollecFile>'
    ).encode()


QUARTER = '<granPeriod duration="PT900S" endTime="2026-11-22T07:45:00Z"/>'


def test_lists_are_read() -> None:
    first = measurements(PM_LISTS)[0]
    assert isinstance(first, Measurement)
    assert (first.dn_prefix, first.managed_element) == ("DC=example,SubNetwork=1", "ManagedElement=G1")
    assert first.measured_object == "GNBDUFunction=1,NRCellDU=c-1"
    assert first.begin == datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
    assert first.end == datetime(2026, 11, 22, 7, 45, tzinfo=UTC)
    assert first.report_period == timedelta(minutes=30)
    assert (first.job, first.info) == ("7", "Rrc")
    assert list(first.results.values()) == ["60", "40", "97", "71", "5"]


def test_counters_become_indicators() -> None:
    first = items(PM_LISTS)[0]
    assert isinstance(first, CounterItem)
    assert first.dimensions == {"cell": "c-1", "rat": "NR"}
    assert first.observed_at == datetime(2026, 11, 22, 7, 37, 30, tzinfo=UTC)
    # attempts: 60 + 40 by cause; successes: the counter's own sum
    assert first.values == {
        "prb_load_pct": 71.0,
        "rrc_setup_attempts": 100.0,
        "rrc_setup_successes": 97.0,
        "rrc_setup_success_ratio": pytest.approx(0.97),
        "counter:RRC.ConnEstabAtt.mo-Data": 60.0,
        "counter:RRC.ConnEstabAtt.mt-Access": 40.0,
        "counter:X.Odd": 5.0,
    }
    assert first.labels["period_s"] == "900"


def test_a_missing_part_makes_no_sum() -> None:
    second = items(PM_LISTS)[1]
    assert isinstance(second, CounterItem)
    assert second.values == {
        "prb_load_pct": 12.5,
        "rrc_setup_successes": 39.0,
        "counter:RRC.ConnEstabAtt.mt-Access": 40.0,
        "counter:X.Odd": 0.0,
    }


def test_suspect_and_unequal_lists_are_refused() -> None:
    refused = [one.code for one in items(PM_LISTS) if isinstance(one, Refused)]
    assert refused == ["suspect", "wrong_count"]


def test_both_vocabularies_and_layouts_are_one_sample() -> None:
    listed, numbered = items(PM_LISTS)[0], items(PM_NUMBERED)[0]
    assert isinstance(listed, CounterItem)
    assert isinstance(numbered, CounterItem)
    assert listed.sample_id == numbered.sample_id
    assert listed.values == numbered.values


def test_lists_of_elements_and_unknown_positions() -> None:
    refused, second = measurements(PM_NUMBERED)[1:]
    assert isinstance(refused, Refused)
    assert refused.code == "unknown_counter"
    assert isinstance(second, Measurement)
    found = CounterReader(standard_rules()).read(second)[0]
    assert isinstance(found, CounterItem)
    assert found.values == {"counter:X.Odd[0]": 86.0, "counter:X.Odd[1]": 87.0, "counter:X.Odd[2]": 2.0}


@pytest.mark.parametrize(
    ("period", "observed", "seconds"),
    [
        (QUARTER, "07:37:30", "900"),
        # a clock 30 s behind: still the window that begins at 07:30
        ('<granPeriod duration="PT900S" endTime="2026-11-22T07:44:30Z"/>', "07:37:00", "900"),
        ('<granPeriod duration="PT300S" endTime="2026-11-22T07:40:00Z"/>', "07:37:30", "300"),
        ('<granPeriod duration="PT1H" endTime="2026-11-22T08:00:00Z"/>', "07:30:00", "3600"),
        ('<granPeriod duration="PT15M" endTime="202611221045+0300"/>', "07:37:30", "900"),
    ],
)
def test_a_period_lands_where_its_middle_is(period: str, observed: str, seconds: str) -> None:
    found = items(one_file(period))[0]
    assert isinstance(found, CounterItem)
    assert found.observed_at.strftime("%H:%M:%S") == observed
    assert found.labels["period_s"] == seconds


@pytest.mark.parametrize(
    ("period", "code"),
    [
        ("", "bad_period"),
        ('<granPeriod duration="P1M" endTime="2026-11-22T07:45:00Z"/>', "bad_period"),
        ('<granPeriod duration="PT0S" endTime="2026-11-22T07:45:00Z"/>', "bad_period"),
        ('<granPeriod duration="P2D" endTime="2026-11-22T07:45:00Z"/>', "bad_period"),
        ('<granPeriod duration="PT900S" endTime="soon"/>', "bad_time"),
        ('<granPeriod duration="PT900S" endTime="2026-11-22T07:45:00"/>', "bad_time"),
        ('<granPeriod duration="PT900S" endTime="0001-01-01T00:05:00Z"/>', "bad_time"),
    ],
)
def test_a_period_that_says_nothing_is_refused(period: str, code: str) -> None:
    assert [one.code for one in items(one_file(period)) if isinstance(one, Refused)] == [code]


def test_a_time_without_offset_takes_that_of_the_header_or_the_name() -> None:
    period = '<granPeriod duration="PT900S" endTime="2026-11-22T15:45:00"/>'
    named = measurements(one_file(period), name="A20261122.1530+0800-1545+0800_1.xml")[0]
    headed = measurements(
        one_file(period).replace(
            b"<measData>",
            b'<fileHeader><measCollec beginTime="2026-11-22T15:30:00+08:00"/></fileHeader><measData>',
            1,
        )
    )[0]
    for found in (named, headed):
        assert isinstance(found, Measurement)
        assert found.end == datetime(2026, 11, 22, 7, 45, tzinfo=UTC)


@pytest.mark.parametrize("missing", ["NIL", "nil", "NULL", "-", "NaN"])
def test_missing_results_are_left_out(missing: str) -> None:
    found = items(one_file(QUARTER, "<measTypes>A B</measTypes>", f"<measResults>{missing} 4</measResults>"))
    assert isinstance(found[0], CounterItem)
    assert found[0].values == {"counter:B": 4.0}


def test_results_that_are_no_numbers_are_refused_alone() -> None:
    found = items(one_file(QUARTER, "<measTypes>A B</measTypes>", "<measResults>up 4</measResults>"))
    assert isinstance(found[0], CounterItem)
    assert isinstance(found[1], Refused)
    assert (found[1].code, found[1].pointer) == ("not_a_number", "/A")


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE measCollecFile SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE measCollecFile [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>',
        "<!DOCTYPE measCollecFile>",
    ],
)
def test_declarations_and_entities_are_refused(prolog: str) -> None:
    with pytest.raises(UnreadableFeed, match="document type"):
        measurements(prolog.encode() + one_file(QUARTER))


def test_an_entity_that_nobody_declared_is_refused() -> None:
    with pytest.raises(UnreadableFeed, match="broken"):
        measurements(one_file(QUARTER).replace(b">1<", b">&x;<"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html/>",
        b"<measCollecFile>" + b"<a>" * 40,
        b"<measCollecFile " + b" ".join(b"a%d='1'" % n for n in range(65)) + b"/>",
        b"<measCollecFile><!--" + b"x" * 3_000_000,
        b'<measCollecFile x="' + b"x" * 3_000_000,
        b"<measCollecFile><a>" + b"x" * 3_000_000 + b"</a></measCollecFile>",
        b"<?xml version='1.0' encoding='UTF-7'?><measCollecFile/>",
        b"<?xml version='1.0' encoding='base64'?><measCollecFile/>",
        PM_LISTS[:900],
    ],
)
def test_what_is_no_measurement_file_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableFeed):
        measurements(data)


def test_utf_16_is_read() -> None:
    text = PM_LISTS.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    assert len(measurements(text.encode("utf-16"))) == 4


def test_what_came_before_the_break_stands() -> None:
    found = read_measurements(io.BytesIO(PM_LISTS[: PM_LISTS.index(b"c-3")]), FeedLimits())
    before = [next(found), next(found)]
    assert [one.measured_object[-3:] for one in before if isinstance(one, Measurement)] == ["c-1", "c-2"]
    with pytest.raises(UnreadableFeed):
        next(found)


def test_an_operators_own_rules() -> None:
    rules = read_rules(
        b'kind="counters"\n[[object]]\nclasses=["UtranCell"]\ndimension="cell"\nservice="iot"\n'
        b'[[rule]]\nindicator="load"\nfirst=["A"]\nscale=0.5\n'
    )
    measurement = measurements(one_file(QUARTER))[0]
    assert isinstance(measurement, Measurement)
    found = CounterReader(rules).read(measurement)[0]
    assert isinstance(found, CounterItem)
    assert (found.service, found.dimensions, found.values) == ("iot", {"cell": "u"}, {"load": 0.5})


def test_a_figure_is_not_summed_out_of_its_parts() -> None:
    names = "<measTypes>DRB.UEThpDl.5QI1 DRB.UEThpDl.5QI9</measTypes>"
    parts = items(one_file(QUARTER, names, "<measResults>4 6</measResults>"))[0]
    assert isinstance(parts, CounterItem)
    assert parts.values == {"counter:DRB.UEThpDl.5QI1": 4.0, "counter:DRB.UEThpDl.5QI9": 6.0}


def test_a_ratio_of_nothing_is_left_out() -> None:
    names = "<measTypes>RM.RegInitReq RM.RegInitSucc</measTypes>"
    found = items(one_file(QUARTER, names, "<measResults>0 0</measResults>"))[0]
    assert isinstance(found, CounterItem)
    assert found.values == {"registration_attempts": 0.0, "registration_successes": 0.0}
