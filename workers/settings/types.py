"""The types of settings: bounded numbers and texts, choices, and the description of a setting."""

from typing import Annotated, Literal

from msgspec import Meta

HostPort = Annotated[
    str,
    Meta(
        pattern=r"^[^\s:,/]+:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$",
        title="host:port, such as localhost:9092",
    ),
]
"""Where a pattern says what is allowed, `title` says it in words, for errors."""

KIB = 1024
MIB = 1024 * KIB

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Bytes = Annotated[int, Meta(ge=1 * KIB, le=1024 * MIB)]
Text = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
KafkaName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$", title="1 to 200 letters, digits, dots, dashes and underscores")
]
"""Kafka allows 249 characters; the other 49 are kept for the slot in a transactional id."""
PublicKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=$", title="a public key in base64, 44 characters")]
"""An Ed25519 public key: 32 bytes in base64."""
TURN_MARKS_MAX = 2000
"""At this many, the worst text of 100,000 characters takes 0.7 s of CPU time, ordinary text none to speak of."""
ListedMarks = Annotated[tuple[Annotated[str, Meta(min_length=2, max_length=128)], ...], Meta(max_length=TURN_MARKS_MAX)]
Url = Annotated[str, Meta(pattern=r"^(https?://[^\s/@]+(/[^\s@]*)?)?$", title="a URL such as http://127.0.0.1:8000/v1")]
"""A URL with `http://` or `https://` and without user and password, which are secrets and have their own settings."""

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
OffsetReset = Literal["earliest", "latest"]
CandidateBlocked = Literal["regenerate", "template"]
AgeDefault = Literal["", "adult", "teen"]
PolicySource = Literal["file", "topic"]
LabelerKind = Literal["embedded", "llm"]
JudgePrompts = Literal["combined", "groups"]
Placement = Literal["inline", "actor"]
WireForm = Literal["json", "msgpack"]
FailureMode = Literal["closed"]
OtlpProtocol = Literal["http", "grpc"]
Preset = Literal["full", "ratio"]
ConsumeRelationship = Literal["parent", "link"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def about(text: str) -> Meta:
    """Describe a setting, for the page of settings and the chart's schema."""
    return Meta(description=text)
