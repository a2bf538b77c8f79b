CREATE TABLE IF NOT EXISTS events
(
    day  Date DEFAULT toDate(time),
    time DateTime,
    site String,
    kind String,
    path String
)
ENGINE = MergeTree(day, (site, kind, time), 8192);
