"""Why an order is not carried out, as a code of the contract and one sentence."""

from __future__ import annotations


class Refusal(Exception):
    """The order ends here. `code` is one of contract.CODES; the text says what was found and what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Unwell(Exception):
    """A version did not show that it is well; `output` is what its health command said.

    `passing`: what failed said itself that it is not the version's fault. It is taken back and may be tried again.
    """

    def __init__(self, text: str, output: str = "", *, passing: bool = False) -> None:
        super().__init__(text)
        self.text, self.output, self.passing = text, output, passing
