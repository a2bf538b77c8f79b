-- Runs once, on an empty volume. Tables are made by migrations; this is for what only a superuser may do.
CREATE ROLE reader NOLOGIN;
GRANT pg_read_all_data TO reader;
