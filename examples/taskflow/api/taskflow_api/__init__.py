"""The API: takes tasks over HTTP, keeps them in PostgreSQL and announces them to the workers through Redis."""
