"""What a service is, told from its image, its variables and where its volumes go: a database, Redis, a console."""

import re

from toolkit.stack.lint.model import Model, Service

# A word of the image's name, and what people call it.
_DATABASES = {
    "postgres": "PostgreSQL", "postgresql": "PostgreSQL", "postgis": "PostgreSQL", "pgvector": "PostgreSQL",
    "timescaledb": "TimescaleDB", "mysql": "MySQL", "mariadb": "MariaDB", "percona": "MySQL", "mongo": "MongoDB",
    "mongodb": "MongoDB", "redis": "Redis", "valkey": "Valkey", "keydb": "KeyDB", "dragonfly": "Dragonfly",
    "clickhouse": "ClickHouse", "elasticsearch": "Elasticsearch", "opensearch": "OpenSearch", "cassandra": "Cassandra",
    "scylla": "ScyllaDB", "influxdb": "InfluxDB", "memcached": "Memcached", "rabbitmq": "RabbitMQ", "etcd": "etcd",
    "neo4j": "Neo4j", "couchdb": "CouchDB", "cockroach": "CockroachDB", "mssql": "SQL Server", "kafka": "Kafka",
}  # fmt: skip
_VARIABLES = {"POSTGRES_DB": "PostgreSQL", "POSTGRES_PASSWORD": "PostgreSQL", "POSTGRES_PASSWORD_FILE": "PostgreSQL"}
_VARIABLES |= {"MYSQL_ROOT_PASSWORD": "MySQL", "MYSQL_ROOT_PASSWORD_FILE": "MySQL", "CLICKHOUSE_DB": "ClickHouse"}
_HOMES = {"/var/lib/postgresql": "PostgreSQL", "/var/lib/mysql": "MySQL", "/var/lib/clickhouse": "ClickHouse"}
_HOMES |= {"/data/db": "MongoDB", "/bitnami/postgresql": "PostgreSQL", "/var/lib/rabbitmq": "RabbitMQ"}
_PORTS = {
    "5432": "PostgreSQL", "3306": "MySQL", "6379": "Redis", "27017": "MongoDB", "9200": "Elasticsearch",
    "9042": "Cassandra", "11211": "Memcached", "5672": "RabbitMQ", "2379": "etcd", "7687": "Neo4j", "5984": "CouchDB",
    "8123": "ClickHouse", "8086": "InfluxDB", "1433": "SQL Server", "26257": "CockroachDB", "9092": "Kafka",
}  # fmt: skip
_DOORS = {
    "adminer", "phpmyadmin", "pgadmin", "pgadmin4", "pgweb", "portainer", "kibana", "flower", "redisinsight", "dozzle",
    "cadvisor", "prometheus", "commander", "express", "dashboards", "cloudbeaver", "metabase", "netdata", "mailhog",
}  # fmt: skip
_DOOR_PORTS = {"2375": "Docker's API", "2376": "Docker's API", "9229": "Node's debugger", "5005": "Java's debugger"}
_DOOR_PORTS |= {"15672": "RabbitMQ's console", "5678": "Python's debugger"}
# Beside a database, and none.
_HELPERS = {"exporter", "backup", "bouncer", "pgbouncer", "proxy", "proxysql", "ui", "admin", "sentinel", "operator"}
_REDIS = {"Redis", "Valkey", "KeyDB", "Dragonfly"}
_JOBS = r"queues?|jobs?|workers?|broker|bull|bullmq|celery|sidekiq|rq|consumers?|resque"
_QUEUE = re.compile(rf"(^|[_-])({_JOBS})([_-]|$)", re.IGNORECASE)


def words(service: Service) -> set[str]:
    """Return the words of the image's own name: `ghcr.io/acme/redis-commander:1` is redis and commander."""
    name = service.image.split("@")[0].rpartition("/")[2].split(":")[0]
    return set(re.split(r"[^a-z0-9]+", name.lower()))


def database(service: Service) -> str:
    """Return which database a service is, or an empty string."""
    named = words(service)
    if named & (_DOORS | _HELPERS):
        return ""
    by_image = (_DATABASES[word] for word in sorted(named & _DATABASES.keys()))
    by_home = (name for mount in service.mounts for home, name in _HOMES.items() if _within(mount.target, home))
    # An application may be told the database's password by the same variable: it has no image or volume of one.
    by_variable = (name for key, name in _VARIABLES.items() if key in service.environment and _has_data(service))
    return next(by_image, "") or next(by_home, "") or next(by_variable, "")


def admin_door(service: Service) -> bool:
    """Whether a service is a console for administrators."""
    return bool(words(service) & _DOORS)


def told_by_port(target: str) -> str:
    """Return what usually listens on a port that strangers should not reach, or an empty string."""
    return _PORTS.get(target) or _DOOR_PORTS.get(target, "")


def redis(service: Service) -> bool:
    return database(service) in _REDIS


def queue(model: Model, service: Service) -> bool:
    """Whether a Redis holds jobs: its name says so, a variable that points to it does, or a worker waits for it."""
    if _QUEUE.search(service.name):
        return True
    return any(_works_for(model, other, service) for other in model.services.values())


def _works_for(model: Model, other: Service, service: Service) -> bool:
    """Whether another service takes its jobs from this one."""
    if any(_QUEUE.search(name) and _names(value, service) for name, value in other.environment.items()):
        return True
    waits = service.name in other.waits_for and _QUEUE.search(other.name)
    return bool(waits) and not _points_elsewhere(model, other, service)


def _points_elsewhere(model: Model, worker: Service, service: Service) -> bool:
    """Whether a worker has another Redis that is called a queue: then this one is its cache."""
    others = (model.services[name] for name in worker.waits_for if name in model.services and name != service.name)
    return any(redis(other) and _QUEUE.search(other.name) for other in others)


def _names(value: str, service: Service) -> bool:
    return value == service.name or bool(re.search(rf"[@/]{re.escape(service.name)}(:\d+)?(/|$)", value))


def _within(path: str, home: str) -> bool:
    return path == home or path.startswith(f"{home}/")


def _has_data(service: Service) -> bool:
    return any(mount.kind == "volume" for mount in service.mounts)
