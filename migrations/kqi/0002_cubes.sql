-- Tier 2 of the KQI store: quarter-hour cubes as mergeable states, which of their builds counts, and how far jobs are.

-- A window is built whole under a new build number; it counts from the moment cube_builds has a row for it. Rows of
-- builds that no longer count are deleted behind the readers' backs.
CREATE TABLE IF NOT EXISTS cubes{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    build           UInt64,
    cut             LowCardinality(String),     -- kqi.cuts: which dimensions are kept; the others are ''
    service         LowCardinality(String),
    vantage         LowCardinality(String),
    device_type     LowCardinality(String),
    indicator       LowCardinality(String),
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
    n               UInt64,
    total           Float64,
    squares         Float64,                    -- sum of squares
    least           Float64,
    most            Float64,
    sketch          AggregateFunction(quantilesDD(0.01, 0.5, 0.9, 0.95), Float64),  -- relative error 1 %, exact merge
    users           AggregateFunction(uniqCombined(14), String),
    bad             UInt64,                     -- samples whose value is beyond the indicator's poor end
    bad_users       AggregateFunction(uniqCombined(14), String)
)
ENGINE = {replicated}MergeTree
PARTITION BY toYYYYMMDD(window)
ORDER BY (window, build, cut, indicator, service, province, city, cell, source, node)
TTL toDateTime(window) + INTERVAL 400 DAY
;
CREATE TABLE IF NOT EXISTS cube_builds{on_cluster}
(
    window          DateTime64(0, 'UTC'),
    build           UInt64,
    built_at        DateTime64(3, 'UTC'),
    samples         UInt64,
    fingerprint     UInt64                      -- of the samples it was built from
)
ENGINE = {replicated}ReplacingMergeTree(build)
ORDER BY window
TTL toDateTime(window) + INTERVAL 400 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
;
CREATE TABLE IF NOT EXISTS job_marks{on_cluster}
(
    job             String,
    mark            DateTime64(3, 'UTC'),       -- everything received before is worked in
    marked_at       DateTime64(3, 'UTC')
)
ENGINE = {replicated}ReplacingMergeTree(marked_at)
ORDER BY job
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
;
