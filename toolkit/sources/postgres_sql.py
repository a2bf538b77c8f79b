"""PostgreSQL: the questions that its source asks."""

SERVER = "SELECT current_setting('server_version'), current_setting('server_version_num')"
# A session waits in its transaction while others are read, whatever the server thinks of such sessions.
UNLIMITED = """
SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN (
  'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
  'transaction_timeout')
"""
DATABASES = """
SELECT json_build_object('name', datname, 'encoding', pg_encoding_to_char(encoding), 'collate', datcollate,
  'ctype', datctype, 'bytes', pg_database_size(oid))
FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname
"""
EXTENSIONS = "SELECT extname || ' ' || extversion FROM pg_extension ORDER BY 1"
# What pg_dump leaves out is left out: system tables, and what an extension owns. A materialized view is made anew
# when it is restored, so its rows need not be the same.
COUNTS = """
SELECT format('SELECT %L, count(*) FROM ONLY %I.%I', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 \\gexec
SELECT 'large objects', count(*) FROM pg_largeobject_metadata;
"""
