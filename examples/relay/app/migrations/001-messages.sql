CREATE TABLE messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient  text        NOT NULL CHECK (length(recipient) BETWEEN 1 AND 200),
    subject    text        NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    status     text        NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sent')),
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
