-- Runs once, on an empty volume. Change a full database with a migration, not here.

CREATE TABLE tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title       text        NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    status      text        NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'done')),
    result      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((status = 'done') = (finished_at IS NOT NULL))
);

-- The worker looks here for tasks whose job was lost with the cache; finished rows do not concern it.
CREATE INDEX tasks_queued ON tasks (created_at) WHERE status = 'queued';
