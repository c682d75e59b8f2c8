-- Tiers 3 and 4 of the KQI store: hours and days, merged from finer states; and what stood out of its baseline.
-- How long each tier is kept is decided in kqi/tiers.py, with reasons; a test holds the TTLs here against it.

CREATE TABLE IF NOT EXISTS cube_hours{on_cluster} AS cubes
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMM(window)
ORDER BY (window, build, cut, indicator, service, province, city, cell, source, node)
TTL toDateTime(window) + INTERVAL 400 DAY
;
CREATE TABLE IF NOT EXISTS cube_days{on_cluster} AS cubes
ENGINE = {replicated}MergeTree
PARTITION BY toYear(window)
ORDER BY (window, build, cut, indicator, service, province, city, cell, source, node)
TTL toDateTime(window) + INTERVAL 1826 DAY
;
CREATE TABLE IF NOT EXISTS tier_builds{on_cluster}
(
    tier            LowCardinality(String),     -- 'hour' or 'day'
    window          DateTime64(0, 'UTC'),
    build           UInt64,
    built_at        DateTime64(3, 'UTC'),
    fingerprint     UInt64                      -- of the finer tier's builds it was merged from
)
ENGINE = {replicated}ReplacingMergeTree(build)
ORDER BY (tier, window)
TTL toDateTime(window) + INTERVAL 1826 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
;
ALTER TABLE cubes{on_cluster} MODIFY TTL toDateTime(window) + INTERVAL 90 DAY
;
ALTER TABLE cube_builds{on_cluster} MODIFY TTL toDateTime(window) + INTERVAL 90 DAY
;
-- What stood out. Rows count when anomaly_runs has a row of the same window, build and time.
CREATE TABLE IF NOT EXISTS anomalies{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    build           UInt64,                     -- of the cube that was judged; 0: there was none
    judged_at       DateTime64(3, 'UTC'),
    kind            LowCardinality(String),     -- 'value' or 'feed'
    indicator       LowCardinality(String),     -- '' for a feed that sent nothing at all
    level           LowCardinality(String),     -- kqi.slices: which dimensions are kept; the others are ''
    service         LowCardinality(String),
    vantage         LowCardinality(String),
    province        LowCardinality(String),
    city            LowCardinality(String),
    area            LowCardinality(String),
    cell            String,
    gateway         LowCardinality(String),
    source          LowCardinality(String),
    node            LowCardinality(String),
    model           LowCardinality(String),
    os              LowCardinality(String),
    app_version     LowCardinality(String),
    observed        Float64,                    -- in the indicator's unit; of a feed: its samples
    expected        Float64,
    deviation       Float64,                    -- standard deviation of observed around expected
    score           Float64,                    -- (observed - expected) / deviation, positive is worse
    p               Float64,
    q               Float64,                    -- Benjamini-Hochberg, over every slice of the window
    samples         UInt64,
    users           UInt64,
    basis           LowCardinality(String)      -- kqi.baseline.Basis: what the expectation rests on
)
ENGINE = {replicated}ReplacingMergeTree(judged_at)
PARTITION BY toYYYYMM(window)
ORDER BY (window, kind, indicator, level, service, vantage, province, city, area, cell, gateway, source, node, model, os, app_version, build, judged_at)
TTL toDateTime(window) + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE TABLE IF NOT EXISTS anomaly_runs{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    build           UInt64,
    judged_at       DateTime64(3, 'UTC'),
    detector        LowCardinality(String),     -- kqi.anomaly.DETECTOR_VERSION
    tested          UInt64,                     -- slices and indicators that could be judged
    found           UInt64                      -- those beyond the bound, the ones not kept included
)
ENGINE = {replicated}ReplacingMergeTree(judged_at)
ORDER BY window
TTL toDateTime(window) + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
;
