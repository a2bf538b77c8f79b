"""The worker: waits for tasks in Redis, does them and marks them done in PostgreSQL."""
