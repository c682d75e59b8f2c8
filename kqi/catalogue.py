"""The indicator catalogue: what is measured, in which unit, which way is better, and where that comes from.

Indicators are data. A feed may send others: they are kept and aggregated, only without a direction. Thresholds
marked "chosen here" are starting values for an operator to tune; the rest names its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

CATALOGUE_VERSION = "2026.1"
"""Changes with any entry, so that a cube's reader can tell which thresholds it was judged by."""


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEUTRAL = "neutral"


class Aggregation(StrEnum):
    """How values of many samples become one."""

    MEAN = "mean"
    """Arithmetic mean, with quantiles."""
    SUM = "sum"
    """Total."""
    SHARE = "share"
    """Values are 0 or 1 (or already shares); the mean is the share."""
    RATIO = "ratio"
    """Σ numerators ÷ Σ denominators over all samples: never a mean of ratios."""


class Service(StrEnum):
    """Services with catalogue entries; further ones are data, not code."""

    VIDEO = "video"
    WEB = "web"
    IOT = "iot"


class Vantage(StrEnum):
    """Where a sample was taken."""

    DEVICE = "device"
    PIPE = "pipe"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One entry.

    `good` and `poor` bound the two ends: beyond `poor` (strictly, in the bad direction) a value counts as bad;
    both in `unit`. `numerators`, `denominators` and `scale` are those of a `RATIO`.
    """

    id: str
    name_zh: str
    name_en: str
    unit: str
    direction: Direction
    aggregation: Aggregation
    vantages: tuple[Vantage, ...]
    services: tuple[Service, ...]
    definition: str
    source: str
    good: float | None = None
    poor: float | None = None
    numerators: tuple[str, ...] = ()
    denominators: tuple[str, ...] = ()
    scale: float = 1.0

    def is_poor(self, value: float) -> bool:
        """Whether a value lies beyond `poor`; False for NaN and where there is no threshold."""
        if self.poor is None:
            return False
        if self.direction is Direction.HIGHER:
            return value < self.poor
        return self.direction is Direction.LOWER and value > self.poor


_L, _H, _N = Direction.LOWER, Direction.HIGHER, Direction.NEUTRAL
_MEAN, _SUM, _SHARE, _RATIO = Aggregation.MEAN, Aggregation.SUM, Aggregation.SHARE, Aggregation.RATIO
_DEV, _PIPE, _CLOUD = (Vantage.DEVICE,), (Vantage.PIPE,), (Vantage.CLOUD,)
_DEV_PIPE = (Vantage.DEVICE, Vantage.PIPE)
_PIPE_CLOUD = (Vantage.PIPE, Vantage.CLOUD)
_ALL = (Vantage.DEVICE, Vantage.PIPE, Vantage.CLOUD)
_VIDEO, _IOT = (Service.VIDEO,), (Service.IOT,)
_VIDEO_WEB = (Service.VIDEO, Service.WEB)
_ANY = (Service.VIDEO, Service.WEB, Service.IOT)

_QOE = "3GPP TS 26.247 clause 10.2; TS 28.406 clause 4"
_IMC = "Krishnan and Sitaraman, IMC 2012"
_RADIO = "3GPP TS 36.214 clause 5.1; TS 38.215 clause 5.1"
_LWM2M = "OMA LwM2M registry, object"
_HERE = "Chosen here"

BAD = "bad"
"""Pseudo-indicator: 1 where a sample is a bad experience by `BAD_IF`, 0 where it is not, absent where unknown."""

_ENTRIES = (
    # what a customer sees: video
    Indicator(
        "start_delay_ms", "初始缓冲时长", "Start delay", "ms", _L, _MEAN, _DEV, _VIDEO,
        "Request to first frame, time paused by the viewer left out; a player's own figure (CMCD msd) wins.",
        f"{_QOE} (initial playout delay). Good: {_IMC}, viewers begin to leave after 2 s. Poor chosen here: twice the "
        "2.5 s that a tuned network averages.",
        good=2_000, poor=5_000,
    ),
    Indicator(
        "stall_ratio", "卡顿时长占比", "Stall ratio", "1", _L, _RATIO, _DEV, _VIDEO,
        "Σ stall ÷ (Σ stall + Σ play), initial buffering excluded; over many samples the ratio of the sums.",
        f"{_QOE} (rebuffering). Good: {_IMC}, 1 % of stalling costs 5 % of viewing. Poor chosen here: three times the "
        "1.6 % that a tuned network averages.",
        good=0.01, poor=0.05, numerators=("stall_ms",), denominators=("stall_ms", "play_ms"),
    ),
    Indicator(
        "stall_frequency_per_min", "卡顿频次", "Stall frequency", "1/min", _L, _RATIO, _DEV, _VIDEO,
        "Stalls per minute played.", f"{_QOE}. {_HERE}: more than one a minute is seen as broken.",
        good=0.1, poor=1, numerators=("stall_count",), denominators=("play_ms",), scale=60_000,
    ),
    Indicator(
        "stall_count", "卡顿次数", "Stalls", "1", _L, _SUM, _DEV, _VIDEO,
        "Interruptions after the first frame that neither a pause nor a seek explains.", _QOE,
    ),
    Indicator("stall_ms", "卡顿时长", "Stalled time", "ms", _L, _SUM, _DEV, _VIDEO, "Time stalled.", _QOE),
    Indicator("play_ms", "播放时长", "Played time", "ms", _N, _SUM, _DEV, _VIDEO, "Time the picture moved.", _QOE),
    Indicator(
        "failed", "播放失败率", "Playback failures", "1", _L, _SHARE, _DEV, _VIDEO,
        "1 for a session that ended in an error, or that the viewer gave up after 10 s without a picture; else 0.",
        f"{_QOE}. The 10 s are chosen here: five times the wait after which viewers begin to leave.",
        good=0, poor=0.5,
    ),
    Indicator(
        "bitrate_kbps", "平均码率", "Bitrate", "kbit/s", _H, _MEAN, _DEV, _VIDEO,
        "Encoded bitrate, weighted by the time played at it.", _QOE,
    ),
    Indicator(
        "joined_pipe", "管道数据关联率", "Joined with the pipe", "1", _N, _SHARE, _DEV, _VIDEO,
        "1 where a pipe sample of the same session, or of the same line in the same window, is known.", _HERE,
    ),
    Indicator(
        "joined_cloud", "云侧数据关联率", "Joined with the cloud", "1", _N, _SHARE, _DEV, _VIDEO,
        "1 where a cloud sample of the same session, or of the same line in the same window, is known.", _HERE,
    ),
    Indicator(
        BAD, "质差占比", "Bad experience", "1", _L, _SHARE, _ALL, _ANY,
        "1 where a sample is a bad experience by the service's definition, 0 where it is not.", _HERE,
        good=0.02, poor=0.5,
    ),
    # radio
    Indicator(
        "rsrp_dbm", "参考信号接收功率", "RSRP", "dBm", _H, _MEAN, _DEV_PIPE, _ANY,
        "Reference signal received power.", f"{_RADIO}. Operators' common bounds.", good=-90, poor=-110,
    ),
    Indicator(
        "rsrq_db", "参考信号接收质量", "RSRQ", "dB", _H, _MEAN, _DEV_PIPE, _ANY,
        "Reference signal received quality.", f"{_RADIO}. Operators' common bounds.", good=-10, poor=-15,
    ),
    Indicator(
        "sinr_db", "信干噪比", "SINR", "dB", _H, _MEAN, _DEV_PIPE, _ANY,
        "Signal to interference and noise ratio.", f"{_RADIO}. Operators' common bounds.", good=10, poor=0,
    ),
    Indicator(
        "prb_load_pct", "PRB利用率", "PRB load", "%", _N, _MEAN, _DEV_PIPE, _ANY,
        "Resource blocks in use; load alone is no fault.", "3GPP TS 28.552 clause 5.1.1.2",
    ),
    # pipe
    Indicator(
        "tcp_setup_user_ms", "TCP建链用户侧时延", "TCP set-up, user side", "ms", _L, _MEAN, _PIPE, _ANY,
        "SYN-ACK to ACK at the core probe: radio and terminal.", f"{_HERE}: a loaded cell stays below 200 ms.",
        good=60, poor=200,
    ),
    Indicator(
        "tcp_setup_server_ms", "TCP建链服务侧时延", "TCP set-up, server side", "ms", _L, _MEAN, _PIPE, _ANY,
        "SYN to SYN-ACK at the core probe: transport and cloud.", f"{_HERE}: a node in the country answers in 200 ms.",
        good=50, poor=200,
    ),
    Indicator(
        "retransmission_ratio", "TCP重传率", "Retransmissions", "1", _L, _MEAN, _PIPE, _ANY,
        "Segments sent again ÷ segments sent.", f"{_HERE}.", good=0.01, poor=0.05,
    ),
    Indicator(
        "rtt_ms", "往返时延", "Round-trip time", "ms", _L, _MEAN, _DEV_PIPE, _ANY,
        "Round trip between terminal and server.", f"{_HERE}.", good=60, poor=250,
    ),
    Indicator(
        "dns_ms", "DNS解析时延", "DNS time", "ms", _L, _MEAN, _DEV_PIPE, _ANY,
        "Query to answer.", f"{_HERE}: a resolver's first retry comes after 1 s or more.", good=50, poor=1_000,
    ),
    Indicator(
        "dns_success_ratio", "DNS解析成功率", "DNS success", "1", _H, _SHARE, _DEV_PIPE, _ANY,
        "Queries answered ÷ queries sent.", f"{_HERE}.", good=0.99, poor=0.9,
    ),
    Indicator(
        "tcp_ms", "TCP建链时延", "TCP set-up", "ms", _L, _MEAN, _DEV, _ANY,
        "Connect call to established, at the terminal.", f"{_HERE}.", good=100, poor=1_000,
    ),
    Indicator(
        "tls_ms", "TLS握手时延", "TLS set-up", "ms", _L, _MEAN, _DEV, _ANY,
        "ClientHello to Finished, at the terminal.", f"{_HERE}.", good=150, poor=1_500,
    ),
    Indicator(
        "throughput_kbps", "下载速率", "Throughput", "kbit/s", _H, _MEAN, _DEV_PIPE, _ANY,
        "Bits delivered ÷ time of delivery.", f"{_HERE}: below 1 Mbit/s no common video profile plays.",
        good=8_000, poor=1_000,
    ),
    Indicator(
        "loss_ratio", "丢包率", "Packet loss", "1", _L, _MEAN, _DEV_PIPE, _ANY,
        "Packets lost ÷ packets sent.", f"{_HERE}.", good=0.005, poor=0.05,
    ),
    # cloud
    Indicator(
        "first_byte_ms", "首包时延", "First byte", "ms", _L, _MEAN, _ALL, _VIDEO_WEB,
        "Request to first byte of the answer.", f"{_HERE}: an edge that has the object answers in 300 ms.",
        good=300, poor=1_500,
    ),
    Indicator(
        "origin_ms", "回源时延", "Origin time", "ms", _L, _MEAN, _CLOUD, _VIDEO_WEB,
        "Time that a node waited for the origin.", f"{_HERE}.", good=500, poor=2_000,
    ),
    Indicator(
        "cache_hit_ratio", "缓存命中率", "Cache hits", "1", _H, _SHARE, _CLOUD, _VIDEO_WEB,
        "Requests served from cache ÷ requests.", f"{_HERE}.", good=0.95, poor=0.6,
    ),
    Indicator(
        "http_4xx_ratio", "HTTP 4xx占比", "HTTP 4xx", "1", _L, _SHARE, _PIPE_CLOUD, _VIDEO_WEB,
        "Answers of class 4xx ÷ answers.", f"RFC 9110 clause 15.5. {_HERE}.", good=0.01, poor=0.1,
    ),
    Indicator(
        "http_5xx_ratio", "HTTP 5xx占比", "HTTP 5xx", "1", _L, _SHARE, _PIPE_CLOUD, _VIDEO_WEB,
        "Answers of class 5xx ÷ answers.", f"RFC 9110 clause 15.6. {_HERE}.", good=0.001, poor=0.05,
    ),
    # things
    Indicator(
        "nrsrp_dbm", "NB-IoT参考信号接收功率", "NRSRP", "dBm", _H, _MEAN, _ALL, _IOT,
        "Narrowband reference signal received power.",
        f"{_LWM2M} 4 resource 2; 3GPP TS 36.214 clause 5.1.26. {_HERE}: below −125 dBm coverage level 2 is near.",
        good=-100, poor=-125,
    ),
    Indicator(
        "nrsrq_db", "NB-IoT参考信号接收质量", "NRSRQ", "dB", _H, _MEAN, _ALL, _IOT,
        "Narrowband reference signal received quality.", f"{_LWM2M} 4 resource 3. {_HERE}.", good=-10, poor=-15,
    ),
    Indicator(
        "ce_level", "覆盖等级", "Coverage enhancement level", "1", _L, _MEAN, _ALL, _IOT,
        "Coverage enhancement level 0, 1 or 2 (the resource's value less one; its 0 is 'none' and not counted).",
        f"{_LWM2M} 4 resource 13; 3GPP TS 36.321 clause 5.1. {_HERE}.", good=0, poor=1,
    ),
    Indicator(
        "attach_success_ratio", "附着成功率", "Attach success", "1", _H, _SHARE, _PIPE_CLOUD, _IOT,
        "Attaches that succeeded ÷ attempted.", f"3GPP TS 32.455 clause 6.3. {_HERE}.", good=0.99, poor=0.9,
    ),
    Indicator(
        "register_success_ratio", "平台注册成功率", "Registration success", "1", _H, _SHARE, _PIPE_CLOUD, _IOT,
        "LwM2M registrations and updates that succeeded ÷ attempted.",
        f"OMA LwM2M Core clause 6.2. {_HERE}.", good=0.99, poor=0.9,
    ),
    Indicator(
        "uplink_delay_ms", "上行时延", "Uplink delay", "ms", _L, _MEAN, _PIPE_CLOUD, _IOT,
        "Event at the device to its arrival at the platform.",
        f"3GPP TS 45.820 clause 6.1: an alarm's report within 10 s. {_HERE}: good.", good=3_000, poor=10_000,
    ),
    Indicator(
        "command_success_ratio", "命令下发成功率", "Command success", "1", _H, _SHARE, _PIPE_CLOUD, _IOT,
        "Commands acknowledged ÷ sent.", f"{_HERE}.", good=0.99, poor=0.9,
    ),
    Indicator(
        "command_delay_ms", "命令时延", "Command delay", "ms", _L, _MEAN, _PIPE_CLOUD, _IOT,
        "Command sent to acknowledged, for a device that is awake.", f"{_HERE}: someone stands before the lock.",
        good=2_000, poor=10_000,
    ),
    Indicator(
        "offline", "离线", "Offline", "1", _L, _SHARE, _PIPE_CLOUD, _IOT,
        "1 where a contact that T3412, T3324 or eDRX promised did not come.",
        f"3GPP TS 24.008 clause 10.5.7.4a. {_HERE}.", good=0.01, poor=0.5,
    ),
    Indicator(
        "battery_pct", "电量", "Battery", "%", _H, _MEAN, _ALL, _ANY,
        "Battery level.", f"{_LWM2M} 3 resource 9. {_HERE}.", good=40, poor=15,
    ),
    Indicator(
        "supply_voltage_mv", "供电电压", "Supply voltage", "mV", _N, _MEAN, _ALL, _IOT,
        "Voltage of the power source.", f"{_LWM2M} 3 resource 7.",
    ),
    Indicator(
        "device_error", "设备错误", "Device error", "1", _L, _SHARE, _ALL, _IOT,
        "1 where the device tells an error code other than 0.", f"{_LWM2M} 3 resource 11.", good=0, poor=0.5,
    ),
    Indicator(
        "link_use_pct", "链路利用率", "Link use", "%", _N, _MEAN, _ALL, _IOT,
        "Use of the link.", f"{_LWM2M} 4 resource 6.",
    ),
    Indicator("tx_kb", "上行流量", "Sent", "kB", _N, _SUM, _ALL, _IOT, "Data sent.", f"{_LWM2M} 7 resource 2."),
    Indicator("rx_kb", "下行流量", "Received", "kB", _N, _SUM, _ALL, _IOT, "Data received.", f"{_LWM2M} 7 resource 3."),
)  # fmt: skip

CATALOGUE: Mapping[str, Indicator] = MappingProxyType({entry.id: entry for entry in _ENTRIES})
"""Every indicator by id."""


@dataclass(frozen=True, slots=True)
class BadIf:
    """Which indicators decide whether a sample of a service, seen from a vantage point, is a bad experience.

    A sample is bad when any of them is beyond its `poor`, not bad when none is and at least one is present, and
    unknown when none is present. Radio values are causes, not experience, and decide nothing.
    """

    service: Service | None
    vantage: Vantage
    indicators: tuple[str, ...]


BAD_IF = (
    BadIf(Service.VIDEO, Vantage.DEVICE, ("failed", "start_delay_ms", "stall_ratio")),
    BadIf(Service.WEB, Vantage.DEVICE, ("failed", "first_byte_ms")),
    BadIf(Service.IOT, Vantage.DEVICE, ("device_error", "offline")),
    BadIf(None, Vantage.PIPE, ("tcp_setup_user_ms", "tcp_setup_server_ms", "loss_ratio", "dns_success_ratio",
                               "attach_success_ratio", "uplink_delay_ms", "offline")),
    BadIf(None, Vantage.CLOUD, ("first_byte_ms", "http_4xx_ratio", "http_5xx_ratio", "register_success_ratio",
                                "command_success_ratio", "offline")),
)  # fmt: skip
"""First match decides; service None is any service. Chosen here, because these are what a customer feels, or the
nearest to it that the vantage point can see."""


def deciding(service: str, vantage: str) -> tuple[Indicator, ...]:
    """The indicators that decide for a service and a vantage point; empty where nothing is defined."""
    for rule in BAD_IF:
        if rule.vantage == vantage and rule.service in (None, service):
            return tuple(CATALOGUE[name] for name in rule.indicators)
    return ()


def is_bad(service: str, vantage: str, values: Mapping[str, float]) -> bool | None:
    """Whether a sample is a bad experience; None where its values do not tell."""
    present = [i for i in deciding(service, vantage) if values.get(i.id, float("nan")) == values.get(i.id)]
    if not present:
        return None
    return any(indicator.is_poor(values[indicator.id]) for indicator in present)
