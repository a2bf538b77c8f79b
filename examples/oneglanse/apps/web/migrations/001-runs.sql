CREATE TABLE sites (
    name     text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200),
    added_at timestamptz NOT NULL DEFAULT now()
);

-- A run: the agent looks at a site and keeps what it saw.
CREATE TABLE runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        text        NOT NULL REFERENCES sites (name),
    status      text        NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'done')),
    file        text,
    size        bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((status = 'done') = (file IS NOT NULL))
);
