"""The error of a command that was used in a way it does not allow."""

from topology.contract.errors import SluicegateError


class WrongUse(SluicegateError):
    """A wrong use. `args` is (option, the given value, what is allowed); none of them holds user text."""

    def __init__(self, option: str, given: str, allowed: str) -> None:
        super().__init__(option, given, allowed)
        self.option = option
        self.given = given
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.option} {self.given}: {self.allowed}" if self.given else f"{self.option}: {self.allowed}"
