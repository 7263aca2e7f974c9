"""Many sets of patterns, matched with one text at once: in one pass over the text, whatever the patterns are.

A caller may have 19 policies, each as long as a document can be, and one call names a hundred things. A regular
expression for each of some thousand sets would be compiled, or tried, some hundred thousand times.

All patterns together are one automaton. A state is a place in a pattern: how many of its tokens have matched. The
states that are reached are the bits of one number, and a character of the text moves all of them by a few operations.
"""

from collections.abc import Iterable, Mapping, Sequence

from backfleet.identity.policy.wildcards import VARIABLE, Values, canonical

_Places = dict[str, list[int]]


class PatternSets:
    """Sets of patterns, compiled. `characters_read` counts what was done: one step for each character."""

    def __init__(self, sets: Sequence[Iterable[str]], *, ignore_case: bool = False, variables: bool = False) -> None:
        """Compile them.

        Args:
            sets: the patterns of each set, in the language of `wildcards`.
            ignore_case: whether letter case means nothing.
            variables: whether there are policy variables in it.
        """
        self.characters_read = 0
        self._ignore_case = ignore_case
        self._owners: dict[int, int] = {}  # the last place of each pattern -> its set
        letters: _Places = {}
        named: _Places = {}
        any_letter: list[int] = []
        stars: list[int] = []
        begins: list[int] = []
        place = 0
        for number, patterns in enumerate(sets):
            for pattern in patterns:
                begins.append(place)
                for at, part in enumerate(VARIABLE.split(pattern) if variables and "${" in pattern else (pattern,)):
                    if at % 2:
                        named.setdefault(canonical(part), []).append(place)
                        place += 1
                        continue
                    for letter in part.lower() if ignore_case else part:
                        if letter == "*":
                            stars.append(place)
                            continue
                        (any_letter if letter == "?" else letters.setdefault(letter, [])).append(place)
                        place += 1
                self._owners[place] = number
                place += 1
        self._size = place
        self._any = self._bits(any_letter)
        self._letters = {letter: self._bits(places) | self._any for letter, places in letters.items()}
        self._named = {name: self._bits(places) for name, places in named.items()}
        self._stars, self._begins, self._ends = self._bits(stars), self._bits(begins), self._bits(self._owners)
        self._head = ("", self._begins)  # the text before the last slash that was read last, and where it led

    def matching(self, text: str, values: Values) -> list[int]:
        """Return the sets, in their order, of which a pattern matches the whole text.

        Args:
            text: read once, from its beginning to its end.
            values: condition keys in their canonical spelling, and their values; a variable without one, or with
                several, matches nothing.
        """
        text = text.lower() if self._ignore_case else text
        known = {name: self._value(values.get(name)) for name in self._named}
        given = {name: value for name, value in known.items() if value is not None}
        reached = self._with_variables(text, given) if given else self._without(text)
        found = f"{reached & self._ends:b}"[::-1]
        sets = []
        at = found.find("1")
        while at >= 0:
            sets.append(self._owners[at])
            at = found.find("1", at + 1)
        return list(dict.fromkeys(sets))

    def _value(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        return value.lower() if self._ignore_case else value

    def _without(self, text: str) -> int:
        """Read a text. Those of one call begin alike, up to their last slash: that much is read once."""
        head = text[: text.rfind("/") + 1]
        last, reached = self._head  # one value: other threads decide with the same sets
        if last != head:
            reached = self._moved(self._begins, head)
            self._head = (head, reached)
        return self._moved(reached, text[len(head) :])

    def _moved(self, reached: int, text: str) -> int:
        self.characters_read += len(text)
        letters, stars, others = self._letters, self._stars, self._any
        for letter in text:
            reached = ((reached & letters.get(letter, others)) << 1) | (reached & stars)
        return reached

    def _with_variables(self, text: str, given: Mapping[str, str]) -> int:
        later: dict[int, int] = {}  # states that are reached once the value of a variable has been read
        reached = self._begins
        for at in range(len(text) + 1):
            reached = self._past_variables(reached | later.pop(at, 0), text, at, given, later)
            if at < len(text):
                reached = self._moved(reached, text[at])
        return reached

    def _past_variables(self, reached: int, text: str, at: int, given: Mapping[str, str], later: dict[int, int]) -> int:
        """Note where variables lead whose values stand in the text from here on; return the states here."""
        before = -1
        while before != reached:  # a value may be empty: it leads on from here, maybe to another variable
            before = reached
            for name, value in given.items():
                waiting = reached & self._named[name]
                if waiting and not value:
                    reached |= waiting << 1
                elif waiting and text.startswith(value, at):
                    later[at + len(value)] = later.get(at + len(value), 0) | waiting << 1
        return reached

    def _bits(self, places: Iterable[int]) -> int:
        found = bytearray(self._size // 8 + 1)
        for place in places:
            found[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(found, "little")
