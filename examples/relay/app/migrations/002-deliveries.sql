-- Every attempt leaves a row, so that a message which was handled twice shows.
CREATE TABLE deliveries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id bigint      NOT NULL REFERENCES messages (id),
    worker     text        NOT NULL,
    token      text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);

-- What the repeated job of the workers counts.
CREATE TABLE digests (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queued bigint      NOT NULL,
    sent   bigint      NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);
