CREATE TABLE clips (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title       text        NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    frames      integer     NOT NULL CHECK (frames BETWEEN 1 AND 240),
    status      text        NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'done')),
    file        text,
    size        bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((status = 'done') = (file IS NOT NULL))
);
