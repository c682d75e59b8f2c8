-- Tier 0 and 1 of the KQI store: what was reported, what players did, what was sampled.
-- Statements are separated by a line that holds only a semicolon. cem.platform.facts_migrate fills two names: nothing on
-- one server; ON CLUSTER and a replicated engine where the setting kqi_cluster names a cluster.
-- Durability: a part and its directory are synced before an insert returns.
-- Windows are DateTime64(0): unlike a plain DateTime it comes back from a query as a time, not as a number.

CREATE TABLE IF NOT EXISTS reports{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    subscriber_id   String,
    item_key        FixedString(32),            -- hex of 16 bytes: hash of (subscriber or install, report id)
    report_id       String,
    install_id      String,
    observed_at     DateTime64(3, 'UTC'),
    received_at     DateTime64(3, 'UTC'),
    origin          LowCardinality(String),     -- 'device' or 'feed'
    caller_id       LowCardinality(String),
    session_id      String,
    service         LowCardinality(String),
    province        LowCardinality(String),
    city            LowCardinality(String),
    area            LowCardinality(String),
    cell            String,
    rat             LowCardinality(String),
    slice           LowCardinality(String),
    gateway         LowCardinality(String),
    source          LowCardinality(String),
    node            LowCardinality(String),
    model           LowCardinality(String),
    os              LowCardinality(String),
    app_version     LowCardinality(String),
    device_type     LowCardinality(String),
    values          Map(LowCardinality(String), Float64),   -- indicators the report carries (rsrp_dbm, rtt_ms, ...)
    body            String CODEC(ZSTD(1)),                  -- the report as sent, unknown fields kept, number removed
    INDEX received  received_at TYPE minmax GRANULARITY 1,  -- what came since a job's mark
    INDEX lines     subscriber_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(received_at)
PARTITION BY toYYYYMMDD(window)
ORDER BY (window, subscriber_id, item_key)
TTL toDateTime(window) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_parts_to_merge_at_once = 10
;
CREATE TABLE IF NOT EXISTS player_events{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    session_id      String,
    subscriber_id   String,
    item_key        FixedString(32),
    observed_at     DateTime64(3, 'UTC'),
    received_at     DateTime64(3, 'UTC'),
    sequence        UInt32,                     -- per session and origin; 0 where the sender has none
    origin          LowCardinality(String),     -- 'sdk' or 'cmcd'
    event           LowCardinality(String),     -- sdk_ingest.events.PlayerEventKind
    values          Map(LowCardinality(String), Float64),   -- bitrate_kbps, buffer_ms, start_delay_ms, stall_ms, throughput_kbps, ...
    labels          Map(LowCardinality(String), String),    -- source, node, content_id, error_code, stream_type, ...
    INDEX received  received_at TYPE minmax GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(received_at)
PARTITION BY toYYYYMMDD(window)
ORDER BY (session_id, subscriber_id, window, item_key)
TTL toDateTime(window) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_parts_to_merge_at_once = 10
;
CREATE TABLE IF NOT EXISTS samples{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    vantage         LowCardinality(String),     -- 'device', 'pipe', 'cloud'
    service         LowCardinality(String),     -- 'video', 'web', 'iot'
    subscriber_id   String,
    item_key        FixedString(32),
    version         UInt64,                     -- later versions of one sample replace earlier ones
    observed_at     DateTime64(3, 'UTC'),
    received_at     DateTime64(3, 'UTC'),
    session_id      String,
    origin          LowCardinality(String),     -- feed or process that sent it
    province        LowCardinality(String),
    city            LowCardinality(String),
    area            LowCardinality(String),
    cell            String,
    rat             LowCardinality(String),
    slice           LowCardinality(String),
    gateway         LowCardinality(String),
    source          LowCardinality(String),
    node            LowCardinality(String),
    model           LowCardinality(String),
    os              LowCardinality(String),
    app_version     LowCardinality(String),
    device_type     LowCardinality(String),
    values          Map(LowCardinality(String), Float64),
    labels          Map(LowCardinality(String), String),
    INDEX received  received_at TYPE minmax GRANULARITY 1,
    INDEX lines     subscriber_id TYPE bloom_filter GRANULARITY 1,
    INDEX sessions  session_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY toYYYYMMDD(window)
ORDER BY (window, vantage, service, subscriber_id, item_key)
TTL toDateTime(window) + INTERVAL 30 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_parts_to_merge_at_once = 10
;
-- Keys of stored items whatever their time, so that an item sent again with another time is still the same item.
-- Derived from the facts (cem.platform.item_keys mends it at start). Few rows a granule: looked up by single keys.
CREATE TABLE IF NOT EXISTS item_keys{on_cluster}
(
    item_key        FixedString(32),
    kind            LowCardinality(String),     -- the fact table that holds the item
    committed_at    DateTime64(3, 'UTC')
)
ENGINE = {replicated}ReplacingMergeTree(committed_at)
PARTITION BY toYYYYMMDD(committed_at)
ORDER BY item_key
TTL toDateTime(committed_at) + INTERVAL 4 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 256
;
