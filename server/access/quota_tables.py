"""What the database keeps of quotas. Identities are pseudonyms; every one of a person's is charged.

A day or minute is counted from the epoch on, and from 1; 0 stands for all time.
"""

from sqlalchemy import BigInteger, Column, Float, Index, LargeBinary, String, Table, Text

from server.database import METADATA

# The bases of one reference of an object that were had on a day, or ever: `auth.quota.Coverage`.
COVERAGE = Table(
    "quota_coverage",
    METADATA,
    Column("identity", String(32), primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("object", Text, primary_key=True),
    Column("day", BigInteger, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("bases", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
)

# `counter`: "requests" in a minute, "bases" and "bytes" in a day.
COUNTERS = Table(
    "quota_counters",
    METADATA,
    Column("identity", String(32), primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("counter", String(8), primary_key=True),
    Column("period", BigInteger, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

# The data blocks on their way: one row for each identity. One whose process has died expires.
# `reserved`: the bytes that the day's budget was charged in advance; NULL where none are limited.
STREAMS = Table(
    "quota_streams",
    METADATA,
    Column("lease", String(32), primary_key=True),
    Column("identity", String(32), primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("reserved", BigInteger),
    Column("expires", Float, nullable=False),
)

Index("quota_streams_by_identity", STREAMS.c.identity, STREAMS.c.dataset)
Index("quota_streams_by_expiry", STREAMS.c.expires)
Index("quota_coverage_by_day", COVERAGE.c.day)
Index("quota_counters_by_period", COUNTERS.c.counter, COUNTERS.c.period)
