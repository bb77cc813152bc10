"""kafka-python's errors, sorted by what the worker does about them, and the project's errors for them.

SluicegateError
├── KafkaUnavailable    the brokers could not be reached, or no request succeeded, for longer than the bound
├── KafkaRefused        the brokers answered, and a person must act: credentials, rights, version, settings, sizes
│   └── RecordTooLarge  one record of a transaction is larger than its topic allows
├── SlotFenced          another process holds this slot
├── GroupUnsettled      the member was in no settled group for longer than the bound
└── OutcomeUnknown      a transaction may or may not be visible; the process must end

Messages hold names, numbers and the library's text; never user text.
"""

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum

from kafka import errors as kafka

from topology.contract.errors import SluicegateError

DETAIL_CHARACTERS_MAX = 200


class Fault(StrEnum):
    """The reaction to an error of the client library, as long as no commit was requested."""

    TRANSIENT = "transient"
    """A broker is away, has moved or is busy: try the same again."""
    STALE = "stale"
    """Group or transaction continued without this process: drop the work and read from the committed offset again."""
    FENCED = "fenced"
    """Another process holds the slot: end."""
    REFUSED = "refused"
    """The brokers would refuse it again: end, and say why."""


class KafkaUnavailable(SluicegateError):
    """The brokers could not be reached in time. `args` is (operation, name of the library's last error)."""

    def __init__(self, operation: str, error: str) -> None:
        super().__init__(operation, error)
        self.operation = operation
        self.error = error

    def __str__(self) -> str:
        return f"kafka: {self.operation}: gave up, last error {self.error}"


class KafkaRefused(SluicegateError):
    """The brokers or the library refused a request. `args` is (operation, name of the error, its text)."""

    def __init__(self, operation: str, error: str, detail: str) -> None:
        super().__init__(operation, error, detail)
        self.operation = operation
        self.error = error
        self.detail = detail

    def __str__(self) -> str:
        return f"kafka: {self.operation}: {self.error}: {self.detail}"


class RecordTooLarge(KafkaRefused):
    """A record is larger than its topic or a request allows. `args` is (topic, bytes of its value, index).

    The index is its place among the records of the transaction, of which nothing is visible. It is None if the brokers
    have refused several records together, of which this is the largest.
    """

    def __init__(self, topic: str, size_bytes: int, index: int | None) -> None:
        super().__init__("commit", "MessageSizeTooLargeError", f"{size_bytes} bytes are too many for {topic}")
        self.args = (topic, size_bytes, index)
        self.topic = topic
        self.size_bytes = size_bytes
        self.index = index


class StatesUnreadable(SluicegateError):
    """A partition's conversation states could not be read, so none of it is delivered. `args` is (reason)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SlotFenced(SluicegateError):
    """Another process was given this slot. `args` is (slot name, name of the library's error)."""

    def __init__(self, slot: str, error: str) -> None:
        super().__init__(slot, error)
        self.slot = slot
        self.error = error

    def __str__(self) -> str:
        how = "if two processes were given it, stop one"
        return f"kafka: slot {self.slot} is held by another process ({self.error}); {how}"


class GroupUnsettled(SluicegateError):
    """The member was in no settled group for too long. `args` is (slot name, its state, seconds)."""

    def __init__(self, slot: str, state: str, seconds: float) -> None:
        super().__init__(slot, state, seconds)
        self.slot = slot
        self.state = state
        self.seconds = seconds

    def __str__(self) -> str:
        how = "the worker ends, and its restart joins anew; if that does not help, look at the group's other members"
        return f"kafka: slot {self.slot} is {self.state} in its group for {self.seconds:g} s: {how}"


class OutcomeUnknown(SluicegateError):
    """A transaction's outcome is unknown, and ending the process did not end it. `args` is (operation, reason)."""

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(operation, reason)
        self.operation = operation
        self.reason = reason

    def __str__(self) -> str:
        return f"kafka: {self.operation}: outcome unknown: {self.reason}"


def fault_of(error: kafka.KafkaError) -> Fault:
    """Return the reaction to `error`: that of its class, else of the nearest base class."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    raise error


def refused(operation: str, error: kafka.KafkaError) -> KafkaRefused:
    """Return the project's error for one that a person must act on; the library's text is cut for the log."""
    return KafkaRefused(operation, type(error).__name__, str(error)[:DETAIL_CHARACTERS_MAX])


def translation(operation: str, error: kafka.KafkaError) -> KafkaRefused | KafkaUnavailable:
    """Return the project's error for one of the library's: KafkaRefused if a person must act, else KafkaUnavailable."""
    if fault_of(error) is Fault.REFUSED:
        return refused(operation, error)
    return KafkaUnavailable(operation, type(error).__name__)


@contextmanager
def translated(operation: str) -> Generator[None]:
    """Raise KafkaRefused or KafkaUnavailable in place of what the library raises inside the block."""
    try:
        yield
    except kafka.KafkaError as exc:
        raise translation(operation, exc) from exc


TABLE: dict[type, Fault] = {
    # kafka-python raises a bare KafkaError for whatever its transaction manager did not expect (K8).
    **dict.fromkeys((kafka.KafkaError, kafka.BrokerResponseError), Fault.TRANSIENT),
    **dict.fromkeys(
        (
            kafka.RetriableError,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
            kafka.BrokerIdNotRegisteredError,
            kafka.BrokerNotAvailableError,
            kafka.DuplicateBrokerRegistrationError,
            kafka.IneligibleReplicaError,
            kafka.KafkaProtocolError,
            kafka.MemberIdRequiredError,
            kafka.NewLeaderElectedError,
            kafka.NoError,
            kafka.NoReassignmentInProgressError,
            kafka.OffsetMovedToTieredStorageError,
            kafka.OperationNotAttemptedError,
            kafka.PositionOutOfRangeError,
            kafka.QuotaViolationError,
            kafka.ReassignmentInProgressError,
            kafka.SnapshotNotFoundError,
            kafka.StaleBrokerEpochError,
            kafka.StaleControllerEpochError,
            kafka.UnknownBrokerIdError,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
            kafka.UnknownControllerIdError,
            kafka.UnknownError,
            kafka.UnknownSubscriptionIdError,
        ),
        Fault.TRANSIENT,
    ),
    **dict.fromkeys(
        (
            kafka.CommitFailedError,
            kafka.DuplicateSequenceNumberError,
            kafka.FencedMemberEpochError,
            kafka.FencedStateEpochError,
            kafka.IllegalGenerationError,
            kafka.InvalidProducerIdMappingError,
            kafka.InvalidTxnStateError,
            kafka.OutOfOrderSequenceNumberError,
            kafka.RebalanceInProgressError,
            kafka.StaleMemberEpochError,
            kafka.TransactionAbortableError,
            kafka.TransactionAbortedError,
            kafka.TransactionCoordinatorFencedError,
            kafka.UnknownMemberIdError,
            kafka.UnknownProducerIdError,
        ),
        Fault.STALE,
    ),
    **dict.fromkeys(
        (
            kafka.FencedInstanceIdError,
            # The broker's error for it on some paths; a rebuilt producer would fence the other holder in turn.
            kafka.InvalidProducerEpochError,
            kafka.ProducerFencedError,
            kafka.UnreleasedInstanceIdError,
        ),
        Fault.FENCED,
    ),
    **dict.fromkeys(
        (
            kafka.AuthorizationError,
            kafka.CorruptRecordError,
            kafka.DelegationTokenAuthDisabledError,
            kafka.DelegationTokenExpiredError,
            kafka.DelegationTokenNotFoundError,
            kafka.DelegationTokenOwnerMismatchError,
            kafka.DelegationTokenRequestNotAllowedError,
            kafka.DuplicateResourceError,
            kafka.DuplicateVoterError,
            kafka.FeatureUpdateFailedError,
            kafka.GroupIdNotFoundError,
            kafka.GroupMaxSizeReachedError,
            kafka.GroupSubscribedToTopicError,
            kafka.IllegalArgumentError,
            kafka.IllegalSaslStateError,
            kafka.IllegalStateError,
            kafka.InconsistentClusterIdError,
            kafka.InconsistentGroupProtocolError,
            kafka.InconsistentVoterSetError,
            kafka.InvalidCommitOffsetSizeError,
            kafka.InvalidConfigurationError,
            kafka.InvalidFetchRequestError,
            kafka.InvalidGroupIdError,
            kafka.InvalidPartitionsError,
            kafka.InvalidPrincipalTypeError,
            kafka.InvalidRecordError,
            kafka.InvalidRecordStateError,
            kafka.InvalidRegistrationError,
            kafka.InvalidReplicationAssignmentError,
            kafka.InvalidReplicationFactorError,
            kafka.InvalidRequestError,
            kafka.InvalidRequiredAcksError,
            kafka.InvalidSessionTimeoutError,
            kafka.InvalidTimestampError,
            kafka.InvalidTopicError,
            kafka.InvalidTransactionTimeoutError,
            kafka.InvalidUpdateVersionError,
            kafka.InvalidVoterKeyError,
            kafka.KafkaConfigurationError,
            kafka.LogDirNotFoundError,
            kafka.LogTruncationError,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
            kafka.MessageSizeTooLargeError,
            kafka.MismatchedEndpointTypeError,
            kafka.NoOffsetForPartitionError,
            kafka.NonEmptyGroupError,
            kafka.OffsetMetadataTooLargeError,
            kafka.OffsetOutOfRangeError,
            kafka.PolicyViolationError,
            kafka.PrincipalDeserializationFailureError,
            kafka.RecordListTooLargeError,
            kafka.ResourceNotFoundError,
            kafka.SaslAuthenticationFailedError,
            kafka.SecurityDisabledError,
            kafka.TelemetryTooLargeError,
            kafka.TopicAlreadyExistsError,
            kafka.TopicDeletionDisabledError,
            kafka.TransactionalIdNotFoundError,
            kafka.UnacceptableCredentialError,
            kafka.UnrecognizedBrokerVersion,
            kafka.UnsupportedAssignorError,
            kafka.UnsupportedCodecError,
            kafka.UnsupportedCompressionTypeError,
            kafka.UnsupportedEndpointTypeError,
            kafka.UnsupportedForMessageFormatError,
            kafka.UnsupportedSaslMechanismError,
            kafka.UnsupportedVersionError,
            kafka.VoterNotFoundError,
        ),
        Fault.REFUSED,
    ),
}
"""A row for every class of `kafka.errors` or for one of its base classes; a test checks each."""
